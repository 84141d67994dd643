// Counts over one text (valid UTF-8) that decide whether it is worth learning from: its lines, its
// words, its sentences. One pass each; lengths are in characters (code points), not bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/character_table.h"

namespace codemix {

// Lines are those of Python's str.splitlines(): their breaks are not part of them.
struct LineStatistics {
  int64_t num_characters = 0;
  int64_t num_lines = 0;
  int64_t line_characters = 0;  // of all lines together
  int64_t longest_line = 0;
  int64_t num_alphabetic = 0;
  int64_t num_alphanumeric = 0;
};

LineStatistics CountLines(std::string_view text, const CharacterTable& classes);

// Words are those of Python's str.split(). A word is spoken where one of its characters is no
// symbol.
struct WordStatistics {
  int64_t num_characters = 0;
  int64_t num_words = 0;
  int64_t longest_word = 0;
  int64_t num_spoken_words = 0;
  int64_t spoken_characters = 0;     // of the spoken words
  int64_t num_alphabetic_words = 0;  // with an alphabetic character
  int64_t num_hashes = 0;            // "#"
  int64_t num_ellipses = 0;          // "...", none overlapping, and U+2026
  int64_t num_lines = 0;             // as above
  int64_t num_bullet_lines = 0;      // whose first character, spaces aside, is "-" or U+2022
  int64_t num_ellipsis_lines = 0;    // whose last characters, spaces aside, are an ellipsis
  int64_t num_sentences = 0;         // ends of sentences, and lines that end without one
  int64_t num_distinct_common = 0;   // how many of `common_words` are words of the text
};

// common_words: at most 64.
WordStatistics CountWords(std::string_view text, const CharacterTable& classes,
                          const std::vector<std::string>& common_words);

}  // namespace codemix
