// Tokens of words, in a table that does not grow: of the words that meet in a place the last two
// stay.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace codemix {

// A word's bytes, zeros, and its size in the last byte. Little endian. kParts: of 8 bytes.
template <int kParts>
struct WordKey {
  static constexpr int64_t kMaxSize = 8 * kParts - 1;
  uint64_t parts[kParts];

  // 8 * kParts bytes from `word` on can be read.
  static WordKey Of(const char* word, int64_t size) {
    WordKey key;
    std::memcpy(&key, word, sizeof(key));
    for (int i = 0; i < kParts; ++i) {
      const int64_t bits = 8 * (size - 8 * i);
      key.parts[i] &= bits >= 64 ? ~uint64_t{0} : bits <= 0 ? 0 : (uint64_t{1} << bits) - 1;
    }
    key.parts[kParts - 1] |= static_cast<uint64_t>(size) << 56;
    return key;
  }
  bool operator==(const WordKey& other) const {
    uint64_t differences = 0;
    for (int i = 0; i < kParts; ++i) differences |= parts[i] ^ other.parts[i];
    return differences == 0;
  }
  uint64_t Hash() const {
    uint64_t mixed = parts[0];
    for (int i = 1; i < kParts; ++i) mixed = (mixed ^ mixed >> 32) * kMix ^ parts[i];
    mixed *= kMix;
    return (mixed ^ mixed >> 32) * kMix;
  }

 private:
  static constexpr uint64_t kMix = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio
};

template <typename Token, int kParts, int kLogPlaces>
class WordCache {
 public:
  using Key = WordKey<kParts>;
  static constexpr int kMaxTokens = (sizeof(Token) == 2 ? 8 : 6) * kParts - 1;

  struct Entry {
    Key key;
    Token tokens[kMaxTokens];
    Token count;
  };

  WordCache() : entries_(size_t{2} << kLogPlaces) {}

  // Where a word is, if it is there: two entries.
  Entry* PlaceOf(const Key& key) { return &entries_[key.Hash() >> (64 - kLogPlaces) << 1]; }

  // The word's entry; null where it is not there.
  static const Entry* Find(const Entry* place, const Key& key) {
    const bool is_second = place[1].key == key;
    const Entry* const entry = place + is_second;
    return is_second || entry->key == key ? entry : nullptr;
  }

  static void Insert(Entry* place, const Key& key, const Token* tokens, int64_t count) {
    if (count > kMaxTokens) return;
    place[1] = place[0];
    place[0].key = key;
    place[0].count = static_cast<Token>(count);
    std::memcpy(place[0].tokens, tokens, count * sizeof(Token));
  }

 private:
  std::vector<Entry> entries_;
};

}  // namespace codemix
