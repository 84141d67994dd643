// SplitMix64 (Steele, Lea, Flood 2014): 64 keyed bits at a time from one word of state.
#pragma once

#include <cstdint>

namespace codemix {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() { return Mix(state_ += kStep); }

  // What call number `index` (from 0) of Next gives after seeding with `seed`.
  static uint64_t Word(uint64_t seed, uint64_t index) { return Mix(seed + (index + 1) * kStep); }

  // Uniform on [0, size), exactly: the high word of a product, and the few draws that would favour
  // some results are thrown away (Lemire 2019, "Fast random integer generation in an interval").
  // Needs size >= 1.
  uint64_t NextBelow(uint64_t size) {
    const uint64_t num_unfair = (0 - size) % size;  // 2^64 mod size
    while (true) {
      const unsigned __int128 product = static_cast<unsigned __int128>(Next()) * size;
      if (static_cast<uint64_t>(product) >= num_unfair) return static_cast<uint64_t>(product >> 64);
    }
  }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15U;

  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

}  // namespace codemix
