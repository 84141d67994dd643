// Places of a text (valid UTF-8) where an e-mail address, a network address or a secret may stand:
// few, found in one pass, for slower tests to decide.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace codemix {

enum class MarkKind : int32_t {
  // "@" between characters that may stand beside it in an address; the mark is the "@" alone.
  kAt = 0,
  // Four numbers of one to three digits with points between them, no letter, digit or point before
  // and no further number behind.
  kFourNumbers = 1,
  // Hexadecimal digits and two or more colons, the first group one of four digits that begin with
  // 2 or 3 (as all addresses in use do); no letter, digit, point or colon before.
  kColons = 2,
  // Sixteen or more of the characters A-Z a-z 0-9 + / _ -, with digits and letters that alternate
  // as chance has them: upper case, lower case and digits change in at least a quarter of the
  // places.
  kRandom = 3,
  // One of `literals`.
  kLiteral = 4,
};

struct Mark {
  MarkKind kind;
  int32_t literal;  // its number, of kLiteral
  int64_t begin;    // in characters
  int64_t end;
};

class MarkFinder {
 public:
  // literals: ASCII of at least two characters.
  explicit MarkFinder(std::vector<std::string> literals);

  // In the order of where they begin. Of the literals that begin at one place the first counts.
  std::vector<Mark> Find(std::string_view text) const;

  // The number of the literal that begins there, or -1.
  int32_t LiteralAt(std::string_view text, size_t at) const {
    if (at + 1 >= text.size()) return -1;
    const auto pair = static_cast<uint16_t>(static_cast<uint8_t>(text[at]) << 8 |
                                            static_cast<uint8_t>(text[at + 1]));
    return begins_literal_[pair] ? FindLiteral(text.substr(at)) : -1;
  }

 private:
  int32_t FindLiteral(std::string_view text) const;

  std::vector<std::string> literals_;
  std::vector<bool> begins_literal_;  // [two bytes]
};

}  // namespace codemix
