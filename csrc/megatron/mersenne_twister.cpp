#include "megatron/mersenne_twister.h"

#include "common/check.h"
#include "common/x86.h"

namespace codemix {
namespace {

constexpr int kShift = 397;

// The smallest 2^b - 1 that is >= bound. Needs bound >= 1.
uint64_t MaskCovering(uint64_t bound) { return UINT64_MAX >> __builtin_clzll(bound); }

uint32_t Twist(uint32_t upper, uint32_t lower, uint32_t shifted) {
  const uint32_t y = (upper & 0x80000000U) | (lower & 0x7fffffffU);
  return shifted ^ (y >> 1) ^ ((0U - (y & 1U)) & 0x9908b0dfU);
}

using Words = MersenneTwister::Words;
constexpr int kStateSize = MersenneTwister::kStateSize;

// Compiled for each instruction set by the functions that it is part of.
__attribute__((always_inline)) inline void Temper(const Words& key, Words& tempered) {
  for (int i = 0; i < kStateSize; ++i) {
    uint32_t y = key[i];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680U;
    y ^= (y << 15) & 0xefc60000U;
    tempered[i] = y ^ (y >> 18);
  }
}

__attribute__((always_inline)) inline void NextWords(Words& key, Words& tempered) {
  int i = 0;
  for (; i < kStateSize - kShift; ++i) key[i] = Twist(key[i], key[i + 1], key[i + kShift]);
  for (; i < kStateSize - 1; ++i) {
    key[i] = Twist(key[i], key[i + 1], key[i + kShift - kStateSize]);
  }
  key[i] = Twist(key[i], key[0], key[kShift - 1]);
  Temper(key, tempered);
}

constexpr int kWide = 16;  // words that a wide kernel takes at a time

// What an instruction set can do faster.
struct Kernels {
  void (*next_words)(Words& key, Words& tempered);
  // Takes words from `position` on, kWide at a time, as long as there are as many and all would
  // fit: writes the values up to `bound`, which falls by one with each, and returns their number.
  // May stop anywhere.
  int64_t (*draw_wide)(const Words& words, int& position, uint32_t mask, uint32_t bound,
                       Span<uint32_t> partners);
};

void NextWordsPlainly(Words& key, Words& tempered) { NextWords(key, tempered); }

int64_t DrawNoneWide(const Words&, int&, uint32_t, uint32_t, Span<uint32_t>) { return 0; }

#ifdef CODEMIX_X86

__attribute__((target("avx2"))) void NextWordsAvx2(Words& key, Words& tempered) {
  NextWords(key, tempered);
}

__attribute__((target("avx512f"))) void NextWordsAvx512(Words& key, Words& tempered) {
  NextWords(key, tempered);
}

__attribute__((target("avx512f,popcnt"))) int64_t DrawWideAvx512(const Words& words, int& position,
                                                                 uint32_t mask, uint32_t bound,
                                                                 Span<uint32_t> partners) {
  // The bound falls by less than partners.size() here; a value that it may or may not reach is rare
  // and left to the caller. So no step waits for how many values the one before it accepted.
  if (bound < partners.size()) return 0;
  const uint32_t lowest_bound = bound - static_cast<uint32_t>(partners.size());
  const __m512i masks = _mm512_set1_epi32(static_cast<int>(mask));
  const __m512i highest = _mm512_set1_epi32(static_cast<int>(bound));
  const __m512i lowest = _mm512_set1_epi32(static_cast<int>(lowest_bound));
  int64_t count = 0;
  int next = position;
  while (next + kWide <= kStateSize && count + kWide <= partners.size()) {
    const __m512i values = _mm512_and_si512(_mm512_loadu_si512(&words[next]), masks);
    const __mmask16 accepted = _mm512_cmple_epu32_mask(values, highest);
    if (accepted != _mm512_cmple_epu32_mask(values, lowest)) break;
    _mm512_storeu_si512(&partners[count], _mm512_maskz_compress_epi32(accepted, values));
    count += __builtin_popcount(accepted);
    next += kWide;
  }
  position = next;
  return count;
}

#endif  // CODEMIX_X86

Kernels BestKernels() {
#ifdef CODEMIX_X86
  if (__builtin_cpu_supports("avx512f")) return {&NextWordsAvx512, &DrawWideAvx512};
  if (__builtin_cpu_supports("avx2")) return {&NextWordsAvx2, &DrawNoneWide};
#endif
  return {&NextWordsPlainly, &DrawNoneWide};
}

const Kernels& TheKernels() {
  static const Kernels kernels = BestKernels();
  return kernels;
}

}  // namespace

MersenneTwister::MersenneTwister(Span<const uint32_t> key, int position) : position_(position) {
  CHECK(key.size() == kStateSize, "the generator's key has ", key.size(), " words, not 624");
  CHECK(0 <= position && position <= kStateSize, "the generator's position is ", position,
        ", outside [0, 624]");
  std::copy(key.begin(), key.end(), key_.begin());
  Temper(key_, tempered_);
}

void MersenneTwister::CopyKeyTo(Span<uint32_t> key) const {
  std::copy(key_.begin(), key_.end(), key.begin());
}

void MersenneTwister::Refill() {
  TheKernels().next_words(key_, tempered_);
  position_ = 0;
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
  const auto draw_wide = TheKernels().draw_wide;
  int64_t count = 0;
  while (count < partners.size()) {
    uint32_t bound = last - static_cast<uint32_t>(count);
    const uint32_t mask = static_cast<uint32_t>(MaskCovering(bound));
    const int64_t num_with_this_mask = bound - (mask >> 1);
    const int64_t stop = std::min(partners.size(), count + num_with_this_mask);
    if (position_ == kStateSize) Refill();
    // The position is local because a store to `partners` might change the member, as far as the
    // compiler knows.
    int position = position_;
    const int64_t num_wide =
        draw_wide(tempered_, position, mask, bound, partners.subspan(count, stop - count));
    count += num_wide;
    bound -= static_cast<uint32_t>(num_wide);
    // No branch on acceptance: it is a coin toss, which would be mispredicted. A value that is
    // thrown away is overwritten by the next one.
    const int end = std::min(position + kWide, kStateSize);
    for (; position < end && count < stop; ++position) {
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
