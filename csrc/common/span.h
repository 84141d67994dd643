// A pointer with its length: what every function here takes instead of containers (std::span is
// C++20).
#pragma once

#include <cstdint>

namespace codemix {

template <typename T>
class Span {
 public:
  Span(T* data, int64_t size) : data_(data), size_(size) {}

  T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) const { return data_[i]; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
  Span subspan(int64_t offset, int64_t size) const { return Span(data_ + offset, size); }

 private:
  T* data_;
  int64_t size_;
};

// The same in two dimensions, row after row.
template <typename T>
struct Matrix {
  T* data;
  int64_t rows;
  int64_t columns;
};

}  // namespace codemix
