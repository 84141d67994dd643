// How much of a text repeats itself: lines, paragraphs and n-grams of words (Rae et al. 2021,
// "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", arXiv 2112.11446,
// section A.1.1 and table A1).
//
// A line is what stands between runs of "\n", a paragraph what stands between runs of two or more
// in the text without the white space around it. A text that begins or ends with "\n" has an empty
// line there: so do the filters of datatrove, whose verdicts these counts give. A word is what
// str.split() gives.
//
// Two n-grams are the same where a hash of 64 bits of their words is.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "text/character_table.h"

namespace codemix {

struct RepetitionStatistics {
  int64_t num_characters = 0;
  int64_t num_lines = 0;
  int64_t num_duplicate_lines = 0;  // that stood before: of three equal ones two
  int64_t duplicate_line_characters = 0;
  int64_t num_paragraphs = 0;
  int64_t num_duplicate_paragraphs = 0;
  int64_t duplicate_paragraph_characters = 0;
  // n = 2, 3, 4: characters of the most frequent n-gram (the first of equally frequent ones), with
  // a space between its words, times how often it stands there, overlapping or not. 0: no n-gram.
  std::array<int64_t, 3> top_ngram_characters = {};
  // n = 5 to 10: characters, spaces aside, of the n-grams that stood before. The text is read from
  // the left: behind an n-gram that stood before, reading goes on with the word behind it, else
  // with the next word; only n-grams that reading came to count as having stood before.
  std::array<int64_t, 6> duplicate_ngram_characters = {};
};

RepetitionStatistics CountRepetition(std::string_view text, const CharacterTable& classes);

}  // namespace codemix
