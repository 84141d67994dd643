// A permutation of 0 .. size - 1 that a 64-bit key names: any entry, and the place of any entry,
// without the others.
//
// Up to kMaxTableSize entries it is a table: Fisher-Yates from the end, partners from SplitMix64
// seeded with the key. Above, a Feistel network on pairs (left < height, right < width), the
// smallest rectangle of height = ceil(sqrt(size)) that covers the size; a value outside the size
// goes through again until it is inside (cycle walking), which 1 value in sqrt(size) does. Eight
// rounds: the left gets f(right), then the right g(left), each modulo its range. The rounds' keys
// are the first eight words of SplitMix64 seeded with the key. See Black and Rogaway, "Ciphers with
// arbitrary finite domains" (2002), for both constructions.
//
// The table is there because eight rounds are not enough on a handful of entries: of the 120
// permutations of 5, some come up twice as often as others.
//
// Part of a run's identity: the data order follows from it, so it never changes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/span.h"

namespace codemix {

class KeyedPermutation {
 public:
  static constexpr int64_t kMaxTableSize = 65'536;
  static constexpr int64_t kMaxSize = int64_t{1} << 62;

  // Needs 1 <= size <= kMaxSize. O(1) above kMaxTableSize.
  KeyedPermutation(int64_t size, uint64_t key);

  int64_t size() const { return static_cast<int64_t>(size_); }

  // The entry at `position`. Needs 0 <= position < size.
  int64_t operator()(int64_t position) const {
    if (!table_.empty()) return table_[position];
    uint64_t value = position;
    do value = Encrypt(value);
    while (value >= size_);
    return static_cast<int64_t>(value);
  }

  // Where `value` stands. O(size) up to kMaxTableSize: for many values, take Invert.
  int64_t Find(int64_t value) const;

 private:
  static constexpr int kRounds = 8;

  uint64_t Encrypt(uint64_t value) const;
  uint64_t Decrypt(uint64_t value) const;

  uint64_t size_;
  uint64_t height_ = 1;
  uint64_t width_ = 1;
  uint64_t reciprocal_ = 0;  // ceil(2^64 / width)
  std::array<uint64_t, kRounds> keys_{};
  std::vector<uint16_t> table_;
};

// values[i] = permutation(positions[i]). Raises on a position outside [0, size).
void Permute(const KeyedPermutation& permutation, Span<const int64_t> positions,
             Span<int64_t> values);

// positions[i] is where values[i] stands. Raises on a value outside [0, size).
void InvertPermutation(const KeyedPermutation& permutation, Span<const int64_t> values,
                       Span<int64_t> positions);

}  // namespace codemix
