// numpy.random.RandomState's generator and shuffle, bit for bit.
//
// MT19937 (Matsumoto and Nishimura 1998) and numpy's legacy bounded integers: the smallest mask of
// ones that covers the bound, draws above the bound thrown away. numpy promises never to change
// this stream (NEP 19), so that data orders made with it stay valid.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "span.h"

namespace codemix {

class MersenneTwister {
 public:
  static constexpr int kStateSize = 624;

  // `key` and `position` as in RandomState.get_state(): position is the number of words used up.
  MersenneTwister(Span<const uint32_t> key, int position);

  void CopyKeyTo(Span<uint32_t> key) const;
  int position() const { return position_; }

  uint32_t Next32() {
    if (position_ == kStateSize) Refill();
    return tempered_[position_++];
  }

  // Uniform on [0, bound], as numpy's random_interval.
  uint64_t DrawUpTo(uint64_t bound);

  // partners[n] is uniform on [0, last - n], the stream of that many DrawUpTo calls.
  // Needs partners.size() <= last < 2^32.
  void DrawPartners(uint32_t last, Span<uint32_t> partners);

 private:
  void Refill();
  void Temper();

  std::array<uint32_t, kStateSize> key_;
  std::array<uint32_t, kStateSize> tempered_;
  int position_;
};

// RandomState.shuffle of a one-dimensional array (Fisher-Yates from the end).
template <typename T>
void Shuffle(Span<T> items, MersenneTwister& rng) {
  int64_t last = items.size() - 1;
  for (; last > int64_t{UINT32_MAX}; --last) {
    std::swap(items[last], items[static_cast<int64_t>(rng.DrawUpTo(last))]);
  }
  // The swaps go to random cache lines, and waiting for these is the cost on large arrays: a block
  // of partners is drawn ahead, and each swap asks for the line of one of the next block. Into L2:
  // a core has three times as many requests to it on the way as to L1.
  constexpr int64_t kBlock = 128;
  std::array<uint32_t, 2 * kBlock> blocks;
  uint32_t* partners = blocks.data();
  uint32_t* next_partners = partners + kBlock;
  int64_t count = std::min(last, kBlock);
  if (count > 0) rng.DrawPartners(static_cast<uint32_t>(last), {partners, count});
  while (count > 0) {
    const int64_t next_last = last - count;
    const int64_t next_count = std::min(next_last, kBlock);
    if (next_count > 0) {
      rng.DrawPartners(static_cast<uint32_t>(next_last), {next_partners, next_count});
    }
    for (int64_t n = 0; n < count; ++n) {
      if (n < next_count) __builtin_prefetch(&items[next_partners[n]], /*rw=*/0, /*locality=*/2);
      std::swap(items[last - n], items[partners[n]]);
    }
    last = next_last;
    count = next_count;
    std::swap(partners, next_partners);
  }
}

}  // namespace codemix
