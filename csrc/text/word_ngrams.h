// The words of a text and the hashes of n words in a row: what near-duplicates and contamination
// are looked for by.
//
// A word is a longest run of letters, digits and underscores, in lower case, character by
// character; in scripts without spaces between words every character is one. An n-gram's hash is
// XXH64 of its words with one space between them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/span.h"

namespace codemix {

// Which characters words are made of.
class WordCharacters {
 public:
  static constexpr int64_t kNumCodes = 0x110000;
  // Marks characters that are words by themselves.
  static constexpr uint32_t kIsWord = uint32_t{1} << 31;

  // lower_case: by code point, that of its lower case, with kIsWord or without; 0 where it is in no
  // word.
  explicit WordCharacters(Span<const uint32_t> lower_case);

  uint32_t LowerCase(uint32_t code) const { return lower_case_[code]; }
  char LowerCaseOfAscii(char character) const { return ascii_[static_cast<int>(character)]; }

 private:
  std::vector<uint32_t> lower_case_;
  char ascii_[128];
};

// The words of one text at a time; its memory is kept for the next.
class Words {
 public:
  explicit Words(const WordCharacters& characters) : characters_(&characters) {}

  // text: valid UTF-8.
  void Read(std::string_view text);

  int64_t size() const { return static_cast<int64_t>(starts_.size()); }
  // With one space between them.
  std::string_view Joined() const { return joined_; }
  // Hash of the `n` words from `first` on.
  uint64_t HashOf(int64_t first, int64_t n) const;
  int64_t NumNgrams(int64_t n) const { return size() < n ? 0 : size() - n + 1; }
  // The hashes of all n-grams, in the order of the text. hashes: NumNgrams(n).
  void HashNgrams(int64_t n, Span<uint64_t> hashes) const;
  // Others, of which one costs as much for long n-grams as for short ones: the words' own hashes as
  // digits of a number, modulo 2^64, from which those that leave are taken and to which those that
  // come are added (Karp and Rabin 1987).
  void HashNgramsByRolling(int64_t n, Span<uint64_t> hashes) const;

 private:
  const WordCharacters* characters_;
  std::string joined_;
  std::vector<int64_t> starts_;  // in joined_
};

// Begin and end of each word of `text`, in characters: two numbers a word.
std::vector<int64_t> FindWords(std::string_view text, const WordCharacters& characters);

}  // namespace codemix
