#include "mersenne_twister.h"

#include "check.h"

namespace codemix {
namespace {

constexpr int kShift = 397;

// The smallest 2^b - 1 that is >= bound. Needs bound >= 1.
uint64_t MaskCovering(uint64_t bound) { return UINT64_MAX >> __builtin_clzll(bound); }

uint32_t Twist(uint32_t upper, uint32_t lower, uint32_t shifted) {
  const uint32_t y = (upper & 0x80000000U) | (lower & 0x7fffffffU);
  return shifted ^ (y >> 1) ^ ((0U - (y & 1U)) & 0x9908b0dfU);
}

}  // namespace

MersenneTwister::MersenneTwister(Span<const uint32_t> key, int position) : position_(position) {
  CHECK(key.size() == kStateSize, "the generator's key has ", key.size(), " words, not 624");
  CHECK(0 <= position && position <= kStateSize, "the generator's position is ", position,
        ", outside [0, 624]");
  std::copy(key.begin(), key.end(), key_.begin());
  Temper();
}

void MersenneTwister::CopyKeyTo(Span<uint32_t> key) const {
  std::copy(key_.begin(), key_.end(), key.begin());
}

void MersenneTwister::Refill() {
  int i = 0;
  for (; i < kStateSize - kShift; ++i) key_[i] = Twist(key_[i], key_[i + 1], key_[i + kShift]);
  for (; i < kStateSize - 1; ++i) {
    key_[i] = Twist(key_[i], key_[i + 1], key_[i + kShift - kStateSize]);
  }
  key_[i] = Twist(key_[i], key_[0], key_[kShift - 1]);
  position_ = 0;
  Temper();
}

void MersenneTwister::Temper() {
  for (int i = 0; i < kStateSize; ++i) {
    uint32_t y = key_[i];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680U;
    y ^= (y << 15) & 0xefc60000U;
    tempered_[i] = y ^ (y >> 18);
  }
}

uint64_t MersenneTwister::DrawUpTo(uint64_t bound) {
  if (bound == 0) return 0;
  const uint64_t mask = MaskCovering(bound);
  while (true) {
    uint64_t value = Next32();
    // Above 32 bits numpy joins two words, the first one high.
    if (bound > UINT32_MAX) value = (value << 32) | Next32();
    value &= mask;
    if (value <= bound) return value;
  }
}

void MersenneTwister::DrawPartners(uint32_t last, Span<uint32_t> partners) {
  int64_t count = 0;
  while (count < partners.size()) {
    uint32_t bound = last - static_cast<uint32_t>(count);
    const uint32_t mask = static_cast<uint32_t>(MaskCovering(bound));
    const int64_t num_with_this_mask = bound - (mask >> 1);
    const int64_t stop = std::min(partners.size(), count + num_with_this_mask);
    if (position_ == kStateSize) Refill();
    // No branch on acceptance: it is a coin toss, which would be mispredicted. A value that is
    // thrown away is overwritten by the next one. The position is local because a store to
    // `partners` might change the member, as far as the compiler knows.
    int position = position_;
    for (; position < kStateSize && count < stop; ++position) {
      const uint32_t value = tempered_[position] & mask;
      const bool accepted = value <= bound;
      partners[count] = value;
      count += accepted;
      bound -= accepted;
    }
    position_ = position;
  }
}

}  // namespace codemix
