// XXH64 with seed 0, from its specification
// (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): the hash that datatrove takes
// for n-grams of words, so that indices and signatures of the two are the same numbers.
#pragma once

#include <cstdint>
#include <cstring>

namespace codemix {

namespace xxhash64 {

constexpr uint64_t kPrime1 = 0x9e3779b185ebca87U;
constexpr uint64_t kPrime2 = 0xc2b2ae3d27d4eb4fU;
constexpr uint64_t kPrime3 = 0x165667b19e3779f9U;
constexpr uint64_t kPrime4 = 0x85ebca77c2b2ae63U;
constexpr uint64_t kPrime5 = 0x27d4eb2f165667c5U;

inline uint64_t RotateLeft(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

template <typename Word>
Word ReadWord(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  if constexpr (sizeof(word) == 8) return __builtin_bswap64(word);
  if constexpr (sizeof(word) == 4) return __builtin_bswap32(word);
#endif
  return word;
}

inline uint64_t Round(uint64_t lane, uint64_t word) {
  return RotateLeft(lane + word * kPrime2, 31) * kPrime1;
}

inline uint64_t MergeLane(uint64_t hash, uint64_t lane) {
  return (hash ^ Round(0, lane)) * kPrime1 + kPrime4;
}

// Takes in whole stripes of 32 bytes and moves `at` behind them.
inline uint64_t HashStripes(const char*& at, const char* end) {
  uint64_t lanes[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  for (; end - at >= 32; at += 32) {
    for (int i = 0; i < 4; ++i) lanes[i] = Round(lanes[i], ReadWord<uint64_t>(at + 8 * i));
  }
  uint64_t hash = RotateLeft(lanes[0], 1) + RotateLeft(lanes[1], 7) + RotateLeft(lanes[2], 12) +
                  RotateLeft(lanes[3], 18);
  for (const uint64_t lane : lanes) hash = MergeLane(hash, lane);
  return hash;
}

// The last 31 bytes at most.
inline uint64_t HashRest(uint64_t hash, const char* at, const char* end) {
  for (; end - at >= 8; at += 8) {
    hash = RotateLeft(hash ^ Round(0, ReadWord<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  }
  if (end - at >= 4) {
    hash = RotateLeft(hash ^ ReadWord<uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
    at += 4;
  }
  for (; at < end; ++at) hash = RotateLeft(hash ^ ReadWord<uint8_t>(at) * kPrime5, 11) * kPrime1;
  return hash;
}

}  // namespace xxhash64

inline uint64_t HashBytes(const char* data, int64_t size) {
  const char* at = data;
  const char* const end = data + size;
  uint64_t hash = size >= 32 ? xxhash64::HashStripes(at, end) : xxhash64::kPrime5;
  hash = xxhash64::HashRest(hash + static_cast<uint64_t>(size), at, end);
  hash = (hash ^ hash >> 33) * xxhash64::kPrime2;
  hash = (hash ^ hash >> 29) * xxhash64::kPrime3;
  return hash ^ hash >> 32;
}

}  // namespace codemix
