#include "common/released_array.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace codemix {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;

}  // namespace

ReleasedPages::ReleasedPages(size_t num_bytes) : num_bytes_(std::max<size_t>(num_bytes, 1)) {
  data_ = mmap(nullptr, num_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data_ == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  // Random access to small pages would wait for their addresses, too.
  madvise(data_, num_bytes_, MADV_HUGEPAGE);
#endif
}

ReleasedPages::~ReleasedPages() {
  munmap(static_cast<char*>(data_) + num_released_, num_bytes_ - num_released_);
}

void ReleasedPages::ReleaseFirst(size_t num_bytes) {
  // Not the last byte: something is left for the destructor.
  const size_t count = std::min(num_bytes, num_bytes_ - 1) / kLargePage * kLargePage;
  if (count <= num_released_) return;
  munmap(static_cast<char*>(data_) + num_released_, count - num_released_);
  num_released_ = count;
}

}  // namespace codemix
