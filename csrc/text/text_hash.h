// 64-bit hashes of short texts, for tables in memory: they are never written down.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace codemix {

// Mixes a number into a hash. The first product tells (a, b) from (b, a).
inline uint64_t MixHash(uint64_t hash, uint64_t number) {
  hash = (hash * 0xff51afd7ed558ccdu ^ number) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

inline uint64_t HashOfText(std::string_view text) {
  uint64_t hash = MixHash(0x243f6a8885a308d3u, text.size());
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t eight;
    std::memcpy(&eight, text.data() + at, 8);
    hash = MixHash(hash, eight);
  }
  if (at < text.size()) {
    uint64_t rest = 0;
    std::memcpy(&rest, text.data() + at, text.size() - at);
    hash = MixHash(hash, rest);
  }
  return MixHash(hash, 0);
}

}  // namespace codemix
