#include "text/text_statistics.h"

#include <algorithm>
#include <array>

#include "common/check.h"

namespace codemix {
namespace {

constexpr std::string_view kBullet = "\xe2\x80\xa2";    // U+2022
constexpr std::string_view kEllipsis = "\xe2\x80\xa6";  // U+2026
constexpr std::string_view kDots = "...";

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

// Whether a word is the last of a sentence: a full stop, an exclamation or a question mark, closing
// quotes and brackets aside.
bool EndsSentence(std::string_view word) {
  while (!word.empty()) {
    const char last = word.back();
    if (last >= 'a' && last <= 'z') return false;  // as most do
    if (last == '.' || last == '!' || last == '?') return true;
    if (last == '"' || last == '\'' || last == ')' || last == ']') {
      word.remove_suffix(1);
    } else if (EndsWith(word, "\xe2\x80\x9d") || EndsWith(word, "\xe2\x80\x99")) {
      word.remove_suffix(3);  // U+201D, U+2019
    } else {
      return false;
    }
  }
  return false;
}

// Which of a few words have been seen.
class SeenWords {
 public:
  explicit SeenWords(const std::vector<std::string>& words) : words_(words) {
    CHECK(words.size() <= 64, words.size(), " common words, more than 64");
    for (const std::string& word : words) {
      longest_ = std::max(longest_, word.size());
      if (!word.empty()) may_begin_[static_cast<uint8_t>(word[0])] = true;
    }
    missing_ = words.size() < 64 ? (uint64_t{1} << words.size()) - 1 : ~uint64_t{0};
  }

  void Add(std::string_view word) {
    if (word.size() > longest_ || !may_begin_[static_cast<uint8_t>(word[0])]) return;
    for (uint64_t left = missing_; left != 0; left &= left - 1) {
      const int i = __builtin_ctzll(left);
      if (word == words_[i]) missing_ &= ~(uint64_t{1} << i);
    }
  }

  int64_t count() const {
    return static_cast<int64_t>(words_.size()) - __builtin_popcountll(missing_);
  }

 private:
  const std::vector<std::string>& words_;
  size_t longest_ = 0;
  std::array<bool, 256> may_begin_ = {};
  uint64_t missing_;
};

// The words of a text, counted one after another and line by line.
class WordCounter {
 public:
  explicit WordCounter(const std::vector<std::string>& common_words) : seen_(common_words) {}

  // kinds: of its characters.
  void AddWord(std::string_view word, const KindsSeen& kinds, bool is_first_of_line) {
    const int64_t length = kinds.count;
    if (kinds.any & kSign) CountSigns(word);
    ++counts_.num_words;
    counts_.longest_word = std::max(counts_.longest_word, length);
    if ((kinds.all & kSymbol) == 0) {
      ++counts_.num_spoken_words;
      counts_.spoken_characters += length;
    }
    if (kinds.any & kAlphabetic) ++counts_.num_alphabetic_words;
    if (is_first_of_line && (word[0] == '-' || StartsWith(word, kBullet))) {
      ++counts_.num_bullet_lines;
    }
    ends_sentence_ = EndsSentence(word);
    if (ends_sentence_) ++counts_.num_sentences;
    last_ = word;
    seen_.Add(word);
  }

  void EndLine(int64_t num_characters) {
    ++counts_.num_lines;
    counts_.num_characters += num_characters;
    if (last_.empty()) return;
    if (EndsWith(last_, kDots) || EndsWith(last_, kEllipsis)) ++counts_.num_ellipsis_lines;
    if (!ends_sentence_) ++counts_.num_sentences;
    last_ = {};
  }

  WordStatistics counts() {
    counts_.num_distinct_common = seen_.count();
    return counts_;
  }

 private:
  void CountSigns(std::string_view word) {
    int64_t dots = 0;
    for (size_t i = 0; i < word.size(); ++i) {
      dots = word[i] == '.' ? dots + 1 : 0;
      if (dots == 3) {
        ++counts_.num_ellipses;
        dots = 0;
      }
      counts_.num_hashes += word[i] == '#';
      counts_.num_ellipses += word[i] == kEllipsis[0] && StartsWith(word.substr(i), kEllipsis);
    }
  }

  SeenWords seen_;
  WordStatistics counts_;
  std::string_view last_;  // word of this line
  bool ends_sentence_ = false;
};

// Bytes of the line break that begins at `at`: two where it is "\r\n".
int64_t SizeOfBreak(std::string_view text, int64_t at) {
  if (text.substr(at, 2) == "\r\n") return 2;
  return SizeOfCharacter(text[at]);
}

}  // namespace

LineStatistics CountLines(std::string_view text, const CharacterTable& classes) {
  LineStatistics counts;
  const int64_t size = static_cast<int64_t>(text.size());
  int64_t length = 0;
  bool is_open = false;  // a line has begun
  const auto end_line = [&] {
    ++counts.num_lines;
    counts.line_characters += length;
    counts.longest_line = std::max(counts.longest_line, length);
    length = 0;
    is_open = false;
  };
  for (int64_t at = 0; at < size;) {
    const uint8_t kind = classes.Of(&text[at]);
    if (kind & kLineBreak) {
      const int64_t bytes = SizeOfBreak(text, at);
      counts.num_characters += text[at] == '\r' ? bytes : 1;
      at += bytes;
      end_line();
      continue;
    }
    ++length;
    ++counts.num_characters;
    counts.num_alphabetic += (kind & kAlphabetic) != 0;
    counts.num_alphanumeric += (kind & kAlphanumeric) != 0;
    at += SizeOfCharacter(text[at]);
    is_open = true;
  }
  if (is_open) end_line();
  return counts;
}

WordStatistics CountWords(std::string_view text, const CharacterTable& classes,
                          const std::vector<std::string>& common_words) {
  WordCounter counter(common_words);
  int64_t characters = 0;  // of this line
  bool is_first_of_line = true;
  const auto end_line = [&] {
    counter.EndLine(characters);
    characters = 0;
    is_first_of_line = true;
  };
  for (size_t at = 0; at < text.size();) {
    const uint8_t kind = classes.Of(&text[at]);
    if (kind & kLineBreak) {
      const int64_t bytes = SizeOfBreak(text, at);
      characters += text[at] == '\r' ? bytes : 1;
      at += bytes;
      end_line();
    } else if (kind & kSpace) {
      ++characters;
      at += SizeOfCharacter(text[at]);
    } else {
      KindsSeen kinds;
      const size_t end = classes.EndOfWord(text, at, &kinds);
      counter.AddWord(text.substr(at, end - at), kinds, is_first_of_line);
      characters += kinds.count;
      is_first_of_line = false;
      at = end;
    }
  }
  if (characters > 0) end_line();
  return counter.counts();
}

}  // namespace codemix
