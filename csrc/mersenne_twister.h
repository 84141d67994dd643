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
  // The swaps go to random cache lines, and waiting for these is the cost on large arrays: draw a
  // block of partners ahead of the swaps and ask for their lines.
  std::array<uint32_t, 512> partners;
  while (last >= 1) {
    const int64_t count = std::min<int64_t>(last, partners.size());
    rng.DrawPartners(static_cast<uint32_t>(last), {partners.data(), count});
    for (int64_t n = 0; n < count; ++n) __builtin_prefetch(&items[partners[n]], /*rw=*/1);
    for (int64_t n = 0; n < count; ++n) std::swap(items[last - n], items[partners[n]]);
    last -= count;
  }
}

}  // namespace codemix
