// Threads that are started at the first use and kept, for work too short to start threads for.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace codemix {

class ThreadPool {
 public:
  // num_threads: the caller's included; 1 starts none.
  explicit ThreadPool(int num_threads) : num_threads_(num_threads) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls task(0) ... task(count - 1), each once and in no order, and returns when all are done.
  // The tasks must not throw. Where another thread uses the pool, the caller does all by itself.
  // A forked child starts threads of its own: those of its parent do not exist there.
  void Run(int64_t count, const std::function<void(int64_t)>& task);

 private:
  struct Workers;

  Workers& WorkersOfThisProcess();

  const int num_threads_;
  std::atomic<Workers*> workers_{nullptr};
};

}  // namespace codemix
