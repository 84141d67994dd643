// What each character of Unicode is, by a table that the caller fills: white space, line break, ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "common/span.h"
#include "common/utf8.h"

namespace codemix {

constexpr int64_t kNumCodePoints = 0x110000;

// Bits of a class.
constexpr uint8_t kSpace = 1;         // str.split() parts words there
constexpr uint8_t kLineBreak = 2;     // str.splitlines() parts lines there
constexpr uint8_t kAlphabetic = 4;    // str.isalpha()
constexpr uint8_t kAlphanumeric = 8;  // str.isalnum()
constexpr uint8_t kSymbol = 16;       // punctuation and control characters
constexpr uint8_t kSign = 32;         // ".", "#" and U+2026: set here, not by the caller

// Which classes the characters of a word have.
struct KindsSeen {
  int64_t count = 0;
  uint8_t all = 0xff;
  uint8_t any = 0;

  void Add(uint8_t kind) {
    ++count;
    all &= kind;
    any |= kind;
  }
};

class CharacterTable {
 public:
  // classes: of every code point.
  explicit CharacterTable(Span<const uint8_t> classes) : classes_(classes.begin(), classes.end()) {
    CHECK(classes.size() == kNumCodePoints, classes.size(), " classes, not ", kNumCodePoints);
    for (const int code : {0x23, 0x2e, 0x2026}) classes_[code] |= kSign;
  }

  // Of the character that begins at `text`.
  uint8_t Of(const char* text) const {
    const auto byte = static_cast<uint8_t>(*text);
    return byte < 0x80 ? classes_[byte] : classes_[CodeOfCharacter(text)];
  }

  // Where the word that begins at `at` ends: at white space, or with the text.
  size_t EndOfWord(std::string_view text, size_t at, KindsSeen* kinds) const {
    while (at < text.size()) {
      const uint8_t kind = Of(&text[at]);
      if (kind & kSpace) break;
      kinds->Add(kind);
      at += SizeOfCharacter(text[at]);
    }
    return at;
  }

 private:
  std::vector<uint8_t> classes_;
};

}  // namespace codemix
