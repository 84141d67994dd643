// Where the patterns of GPT-2 and GPT-4 cut a text into words, 64 characters at a time.
//
// A match of these patterns depends on nothing before it. So a window of characters that begins
// where a word begins is cut by operations on bit masks, one bit a character, up to the last cut
// that no character behind the window can move; the next window begins there.
#pragma once

#include <cstdint>
#include <vector>

namespace codemix {

enum class CharClass : uint8_t {
  kUnknown,  // nobody has told yet
  kOther,
  kLetter,
  kNumber,
  kSpace,
  kDigit,    // a word by itself, whatever stands beside it
  kRefused,  // a text with it is left to the reference
};

struct WordPattern {
  // GPT-4's pattern ("cl100k", also Llama 3 and, one number at once, Qwen 2), else GPT-2's.
  bool is_gpt4;
  int numbers_at_once;  // of GPT-4's: 1 or 3
  bool isolates_digits;
};

// By code point. ASCII is known from the start.
class CharClasses {
 public:
  static constexpr uint32_t kNumCodes = 0x110000;

  explicit CharClasses(bool isolates_digits);
  void Set(uint32_t code, CharClass char_class);
  CharClass Of(uint32_t code) const { return classes_[code]; }

 private:
  std::vector<CharClass> classes_;
};

struct Window {
  static constexpr int kSize = 64;
  static constexpr int64_t kMaxBytes = 4 * kSize;  // of UTF-8

  // A bit for each character, the first the lowest.
  uint64_t letters, numbers, digits, spaces, others;
  uint64_t newlines, blanks, apostrophes;  // of `spaces` those of \r and \n and of ' '; "'"
  int size;                                // characters
  bool is_ascii;                           // then a character is a byte
  bool has_strange;                        // characters that are unknown or refused
  int offsets[kSize + 1];                  // bytes before each character, unless ASCII

  int Offset(int character) const { return is_ascii ? character : offsets[character]; }
};

// Cuts: the bits of characters that begin a word, the first one among them, all of them certain;
// what lies behind the last is not, unless `reaches_end`.
// `text` and `end`: valid UTF-8; kMaxBytes + 16 bytes from `text` on can be read.
void ReadWindow(const char* text, const char* end, const CharClasses& classes, Window* window);
uint64_t CutWindow(const char* text, bool reaches_end, const WordPattern& pattern,
                   const Window& window);

// The end of the word that begins at `text`, of any length.
const char* EndOfWord(const char* text, const char* end, const WordPattern& pattern,
                      const CharClasses& classes);

}  // namespace codemix
