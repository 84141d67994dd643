#include "text/word_ngrams.h"

#include <algorithm>

#include "common/check.h"
#include "common/utf8.h"
#include "common/xxhash64.h"

namespace codemix {

namespace {

// Bytes in UTF-8.
int SizeOfCode(uint32_t code) {
  return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

// Writes the character at `at` and returns the place behind it.
char* WriteCharacter(uint32_t code, char* at) {
  const auto tail = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    *at++ = static_cast<char>(code);
  } else if (code < 0x800) {
    *at++ = static_cast<char>(0xc0 | code >> 6);
    *at++ = tail(0);
  } else if (code < 0x10000) {
    *at++ = static_cast<char>(0xe0 | code >> 12);
    *at++ = tail(6);
    *at++ = tail(0);
  } else {
    *at++ = static_cast<char>(0xf0 | code >> 18);
    *at++ = tail(12);
    *at++ = tail(6);
    *at++ = tail(0);
  }
  return at;
}

}  // namespace

WordCharacters::WordCharacters(Span<const uint32_t> lower_case)
    : lower_case_(lower_case.begin(), lower_case.end()) {
  CHECK(lower_case.size() == kNumCodes, lower_case.size(), " lower cases, not ", kNumCodes);
  for (int64_t code = 0; code < kNumCodes; ++code) {
    const uint32_t lower = lower_case[code] & ~kIsWord;
    CHECK(lower < kNumCodes && (lower < 0xd800 || lower > 0xdfff), "code point ", code,
          " has the lower case ", lower, ", which is no character");
    // So much room has Words::Read, with a space before each: a character that is a word ends the
    // one before, so any other may begin one too. Unicode's longest are U+023A and U+023E, three
    // bytes for two.
    CHECK(SizeOfCode(lower) + 1 <= 2 * SizeOfCode(static_cast<uint32_t>(code)),
          "code point ", code, " has the lower case ", lower, ", which is too long");
  }
  for (int code = 0; code < 128; ++code) ascii_[code] = static_cast<char>(lower_case_[code]);
}

void Words::Read(std::string_view text) {
  joined_.resize(2 * text.size());  // as the constructor has checked
  starts_.clear();
  char* const begin = joined_.data();
  char* at = begin;
  bool is_inside = false;
  const char* const end = text.data() + text.size();
  for (const char* next = text.data(); next < end;) {
    const bool is_ascii = static_cast<uint8_t>(*next) < 0x80;
    const uint32_t lower = is_ascii ? static_cast<uint8_t>(characters_->LowerCaseOfAscii(*next))
                                    : characters_->LowerCase(CodeOfCharacter(next));
    next += SizeOfCharacter(*next);
    if (lower == 0) {
      is_inside = false;
      continue;
    }
    const bool is_word = (lower & WordCharacters::kIsWord) != 0;
    if (!is_inside || is_word) {
      if (at != begin) *at++ = ' ';
      starts_.push_back(at - begin);
      is_inside = !is_word;
    }
    at = WriteCharacter(lower & ~WordCharacters::kIsWord, at);
  }
  joined_.resize(at - begin);
}

uint64_t Words::HashOf(int64_t first, int64_t n) const {
  const int64_t start = starts_[first];
  const int64_t end =
      first + n < size() ? starts_[first + n] - 1 : static_cast<int64_t>(joined_.size());
  return HashBytes(joined_.data() + start, end - start);
}

void Words::HashNgrams(int64_t n, Span<uint64_t> hashes) const {
  for (int64_t i = 0; i < hashes.size(); ++i) hashes[i] = HashOf(i, n);
}

void Words::HashNgramsByRolling(int64_t n, Span<uint64_t> hashes) const {
  constexpr uint64_t kBase = 0x9e3779b97f4a7c15U;  // odd: no word's bits are lost
  if (hashes.size() == 0) return;
  uint64_t power = 1;
  for (int64_t i = 1; i < n; ++i) power *= kBase;
  std::vector<uint64_t> words(size());
  HashNgrams(1, {words.data(), size()});
  uint64_t rolling = 0;
  for (int64_t i = 0; i < size(); ++i) {
    if (i >= n) rolling -= words[i - n] * power;
    rolling = rolling * kBase + words[i];
    if (i >= n - 1) hashes[i - n + 1] = rolling;
  }
}

std::vector<int64_t> FindWords(std::string_view text, const WordCharacters& characters) {
  std::vector<int64_t> places;
  bool is_inside = false;
  int64_t position = 0;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end; at += SizeOfCharacter(*at), ++position) {
    const uint32_t lower = characters.LowerCase(CodeOfCharacter(at));
    const bool is_word = (lower & WordCharacters::kIsWord) != 0;
    if (is_inside && (lower == 0 || is_word)) places.push_back(position);
    if (is_word) {
      places.push_back(position);
      places.push_back(position + 1);
    } else if (lower != 0 && !is_inside) {
      places.push_back(position);
    }
    is_inside = lower != 0 && !is_word;
  }
  if (is_inside) places.push_back(position);
  return places;
}

}  // namespace codemix
