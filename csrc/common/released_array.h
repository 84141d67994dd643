// A large array that is given back to the system from its beginning, as it is read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/span.h"

namespace codemix {

// Whole pages of memory, zero at first.
class ReleasedPages {
 public:
  // Throws std::bad_alloc.
  explicit ReleasedPages(size_t num_bytes);
  ~ReleasedPages();
  ReleasedPages(const ReleasedPages&) = delete;
  ReleasedPages& operator=(const ReleasedPages&) = delete;

  void* data() const { return data_; }
  // The first `num_bytes` are not read any more: as many whole large pages as they fill go back.
  void ReleaseFirst(size_t num_bytes);

 private:
  void* data_;
  size_t num_bytes_;
  size_t num_released_ = 0;
};

template <typename T>
class ReleasedArray {
 public:
  explicit ReleasedArray(int64_t size)
      : pages_(static_cast<size_t>(size) * sizeof(T)),
        items_(static_cast<T*>(pages_.data()), size) {}

  Span<T> items() const { return items_; }
  void ReleaseFirst(int64_t count) { pages_.ReleaseFirst(static_cast<size_t>(count) * sizeof(T)); }

 private:
  ReleasedPages pages_;
  Span<T> items_;
};

}  // namespace codemix
