#include "common/thread_pool.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace codemix {

struct ThreadPool::Workers {
  const pid_t process = getpid();
  std::mutex in_use;  // held by the caller whose tasks run

  std::mutex mutex;  // guards all below
  std::condition_variable changed;
  const std::function<void(int64_t)>* task = nullptr;
  int64_t next = 0;
  int64_t count = 0;
  int64_t unfinished = 0;
  bool is_stopping = false;
  std::vector<std::thread> threads;

  // Takes tasks until none is left.
  void Work(std::unique_lock<std::mutex>& lock) {
    while (next < count) {
      const int64_t mine = next++;
      const std::function<void(int64_t)>& call = *task;
      lock.unlock();
      call(mine);
      lock.lock();
      if (--unfinished == 0) changed.notify_all();
    }
  }

  void Loop() {
    std::unique_lock<std::mutex> lock(mutex);
    while (!is_stopping) {
      Work(lock);
      changed.wait(lock, [&] { return is_stopping || next < count; });
    }
  }

  ~Workers() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      is_stopping = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
  }
};

ThreadPool::~ThreadPool() {
  Workers* const workers = workers_.load();
  // After a fork they are the parent's: nothing to join, and its locks may be held for ever.
  if (workers != nullptr && workers->process == getpid()) delete workers;
}

ThreadPool::Workers& ThreadPool::WorkersOfThisProcess() {
  Workers* current = workers_.load();
  if (current != nullptr && current->process == getpid()) return *current;
  Workers* const fresh = new Workers;
  if (workers_.compare_exchange_strong(current, fresh)) return *fresh;
  delete fresh;  // another thread was first
  return *current;
}

void ThreadPool::Run(int64_t count, const std::function<void(int64_t)>& task) {
  std::unique_lock<std::mutex> turn;
  if (num_threads_ > 1 && count > 1) {
    turn = std::unique_lock<std::mutex>(WorkersOfThisProcess().in_use, std::try_to_lock);
  }
  if (!turn.owns_lock()) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  Workers& workers = WorkersOfThisProcess();
  std::unique_lock<std::mutex> lock(workers.mutex);
  while (static_cast<int>(workers.threads.size()) < num_threads_ - 1) {
    workers.threads.emplace_back([&workers] { workers.Loop(); });
  }
  workers.task = &task;
  workers.next = 0;
  workers.count = workers.unfinished = count;
  workers.changed.notify_all();
  workers.Work(lock);
  workers.changed.wait(lock, [&] { return workers.unfinished == 0; });
}

}  // namespace codemix
