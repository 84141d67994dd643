#include "order/keyed_permutation.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/check.h"
#include "common/splitmix64.h"

namespace codemix {
namespace {

uint64_t HighWord(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
}

// The smallest h with h * h >= size, bit by bit. Needs 1 <= size <= 2^62.
uint64_t CeilOfSquareRoot(uint64_t size) {
  uint64_t root = 0;  // the largest with root * root < size
  for (uint64_t bit = uint64_t{1} << 31; bit != 0; bit >>= 1) {
    const uint64_t candidate = root | bit;
    if (candidate * candidate < size) root = candidate;
  }
  return root + 1;
}

// A round's function: a keyed mix of `half`, spread over [0, range) by the high word of a product.
uint64_t MixInto(uint64_t range, uint64_t half, uint64_t key) {
  uint64_t mixed = (half + key) * 0xd6e8feb86659fd93U;
  mixed ^= mixed >> 32;
  mixed *= 0x9fb21c651e98df25U;
  return HighWord(mixed, range);
}

uint64_t AddModulo(uint64_t a, uint64_t b, uint64_t range) {
  const uint64_t sum = a + b;
  return sum >= range ? sum - range : sum;
}

uint64_t SubtractModulo(uint64_t a, uint64_t b, uint64_t range) {
  return a >= b ? a - b : a + range - b;
}

}  // namespace

KeyedPermutation::KeyedPermutation(int64_t size, uint64_t key) : size_(size) {
  CHECK(1 <= size && size <= kMaxSize, "a permutation of ", size, " entries; from 1 to 2^62");
  SplitMix64 random(key);
  if (size <= kMaxTableSize) {
    table_.resize(size);
    std::iota(table_.begin(), table_.end(), uint16_t{0});
    for (int64_t last = size - 1; last >= 1; --last) {
      std::swap(table_[last], table_[random.NextBelow(last + 1)]);
    }
    return;
  }
  height_ = CeilOfSquareRoot(size_);
  width_ = (size_ + height_ - 1) / height_;
  reciprocal_ = UINT64_MAX / width_ + 1;
  for (uint64_t& round_key : keys_) round_key = random.Next();
}

uint64_t KeyedPermutation::Encrypt(uint64_t value) const {
  // value < 2^62 + 2^31, so that the estimate is the quotient or one more.
  uint64_t left = HighWord(value, reciprocal_);
  if (left * width_ > value) --left;
  uint64_t right = value - left * width_;
  for (int round = 0; round < kRounds; round += 2) {
    left = AddModulo(left, MixInto(height_, right, keys_[round]), height_);
    right = AddModulo(right, MixInto(width_, left, keys_[round + 1]), width_);
  }
  return left * width_ + right;
}

uint64_t KeyedPermutation::Decrypt(uint64_t value) const {
  uint64_t left = value / width_;
  uint64_t right = value % width_;
  for (int round = kRounds - 2; round >= 0; round -= 2) {
    right = SubtractModulo(right, MixInto(width_, left, keys_[round + 1]), width_);
    left = SubtractModulo(left, MixInto(height_, right, keys_[round]), height_);
  }
  return left * width_ + right;
}

int64_t KeyedPermutation::Find(int64_t value) const {
  if (!table_.empty()) return std::find(table_.begin(), table_.end(), value) - table_.begin();
  uint64_t position = value;
  do position = Decrypt(position);
  while (position >= size_);
  return static_cast<int64_t>(position);
}

void Permute(const KeyedPermutation& permutation, Span<const int64_t> positions,
             Span<int64_t> values) {
  CHECK(positions.size() == values.size(), "positions and values differ in size");
  for (int64_t i = 0; i < positions.size(); ++i) {
    CHECK(0 <= positions[i] && positions[i] < permutation.size(), "position ", positions[i],
          " is outside [0, ", permutation.size(), ")");
    values[i] = permutation(positions[i]);
  }
}

void InvertPermutation(const KeyedPermutation& permutation, Span<const int64_t> values,
                       Span<int64_t> positions) {
  CHECK(positions.size() == values.size(), "positions and values differ in size");
  const int64_t size = permutation.size();
  std::vector<int64_t> position_of;
  if (size <= KeyedPermutation::kMaxTableSize) {
    position_of.resize(size);
    for (int64_t position = 0; position < size; ++position) {
      position_of[permutation(position)] = position;
    }
  }
  for (int64_t i = 0; i < values.size(); ++i) {
    CHECK(0 <= values[i] && values[i] < size, "value ", values[i], " is outside [0, ", size, ")");
    positions[i] = position_of.empty() ? permutation.Find(values[i]) : position_of[values[i]];
  }
}

}  // namespace codemix
