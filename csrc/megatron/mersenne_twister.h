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

#include "common/span.h"

namespace codemix {

class MersenneTwister {
 public:
  static constexpr int kStateSize = 624;
  using Words = std::array<uint32_t, kStateSize>;

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

  Words key_;
  Words tempered_;
  int position_;
};

// RandomState.shuffle of a one-dimensional array (Fisher-Yates from the end).
template <typename T>
void Shuffle(Span<T> items, MersenneTwister& rng) {
  int64_t last = items.size() - 1;
  for (; last > int64_t{UINT32_MAX}; --last) {
    std::swap(items[last], items[static_cast<int64_t>(rng.DrawUpTo(last))]);
  }
  if (last <= 0) return;
  // The swaps go to random cache lines, and waiting for these is the cost on large arrays: each
  // swap asks for the line of one that comes kAhead swaps later. Into L2: more requests to it than
  // to L1 can be on the way.
  constexpr int64_t kAhead = 128;
  constexpr int64_t kBlock = 128;
  std::array<uint32_t, kAhead + kBlock> partners;
  const int64_t ahead = std::min(last, kAhead);
  rng.DrawPartners(static_cast<uint32_t>(last), {partners.data(), ahead});
  while (last > ahead) {
    const int64_t count = std::min(last - ahead, kBlock);
    rng.DrawPartners(static_cast<uint32_t>(last - ahead), {partners.data() + ahead, count});
    for (int64_t n = 0; n < count; ++n) {
      __builtin_prefetch(&items[partners[ahead + n]], /*rw=*/0, /*locality=*/2);
      std::swap(items[last - n], items[partners[n]]);
    }
    last -= count;
    std::copy_n(partners.begin() + count, ahead, partners.begin());
  }
  for (int64_t n = 0; n < ahead; ++n) std::swap(items[last - n], items[partners[n]]);
}

}  // namespace codemix
