// Tokens that are appended; like a vector, but what is reserved may be written to before it counts.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "common/span.h"

namespace codemix {

template <typename Token>
class TokenBuffer {
 public:
  int64_t size() const { return size_; }
  void Truncate(int64_t size) { size_ = size; }
  Span<const Token> view() const { return {tokens_.get(), size_}; }

  // Room for `count` more: returns where they go.
  Token* Reserve(int64_t count) {
    if (size_ + count > capacity_) Grow(size_ + count);
    return tokens_.get() + size_;
  }
  void Add(int64_t count) { size_ += count; }

 private:
  void Grow(int64_t needed) {
    capacity_ = needed + needed / 2;
    std::unique_ptr<Token[]> grown(new Token[capacity_]);  // not initialised
    if (size_ > 0) std::memcpy(grown.get(), tokens_.get(), size_ * sizeof(Token));
    tokens_ = std::move(grown);
  }

  std::unique_ptr<Token[]> tokens_;
  int64_t size_ = 0;
  int64_t capacity_ = 0;
};

}  // namespace codemix
