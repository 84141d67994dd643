#include "bpe/bpe_split.h"

#include "common/utf8.h"

namespace codemix {

namespace {

uint64_t StartsOfRuns(uint64_t mask) { return mask & ~(mask << 1); }
uint64_t Bit(int i) { return i < 64 ? uint64_t{1} << i : 0; }
int LowestBit(uint64_t mask) { return __builtin_ctzll(mask); }
int HighestBit(uint64_t mask) { return 63 - __builtin_clzll(mask); }

// Bytes of 's, 't, 're, 've, 'm, 'll or 'd at `text`, which is at an apostrophe; 0 for none.
int SizeOfContraction(const char* text, bool ignores_case) {
  const char fold = ignores_case ? 0x20 : 0;
  const char first = static_cast<char>(text[1] | fold);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = static_cast<char>(text[2] | fold);
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  return first == 'l' && second == 'l' ? 3 : 0;
}

// Of `starts`, each behind a newline, those that no later newline of the same white space takes in.
uint64_t WithoutLaterNewline(uint64_t starts, uint64_t blank_runs, uint64_t newlines) {
  // Adding a run's first bit carries to the bit behind the run.
  const uint64_t behind = (blank_runs + starts) & ~blank_runs;
  if ((behind & newlines) == 0) return starts;
  uint64_t kept = 0;
  for (uint64_t left = starts; left != 0; left &= left - 1) {
    const uint64_t start = left & -left;
    if (((blank_runs + start) & ~blank_runs & newlines) == 0) kept |= start;
  }
  return kept;
}

uint64_t StartsOfNumbers(uint64_t numbers, int at_once) {
  if (at_once == 1) return numbers;
  uint64_t starts = StartsOfRuns(numbers);
  const uint64_t inner = numbers & numbers << 1 & numbers << 2 & numbers << 3;
  for (uint64_t next = starts << 3 & inner; next != 0; next = next << 3 & inner) starts |= next;
  return starts;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
// \s*[\r\n]+|\s+(?!\S)|\s+
uint64_t CutAsGpt4(const char* text, int numbers_at_once, const Window& w) {
  const uint64_t other_starts = StartsOfRuns(w.others);
  const uint64_t behind_blank = other_starts & w.blanks << 1;
  const uint64_t single_others = other_starts & ~behind_blank & ~(w.others >> 1);
  const uint64_t letter_starts = StartsOfRuns(w.letters);
  // Letters take in one character before them.
  const uint64_t prefixed = letter_starts & ((w.spaces & ~w.newlines) | single_others) << 1;
  // Newlines directly behind others are theirs.
  const uint64_t first_newlines = w.newlines & w.others << 1;
  const uint64_t taken = w.newlines & ~(w.newlines + first_newlines);
  const uint64_t spaces = w.spaces & ~taken;
  const uint64_t newlines = w.newlines & ~taken;
  const uint64_t blank_runs = spaces & ~newlines;
  const uint64_t visible = w.letters | w.numbers | w.others;
  uint64_t starts = (letter_starts & ~prefixed) | prefixed >> 1;
  starts |= (other_starts & ~behind_blank) | behind_blank >> 1;
  starts |= StartsOfNumbers(w.numbers, numbers_at_once) | w.digits | w.digits << 1;
  starts |= StartsOfRuns(spaces) | (blank_runs & visible >> 1);
  starts |= WithoutLaterNewline(blank_runs & newlines << 1, blank_runs, newlines);
  for (uint64_t left = prefixed >> 1 & w.apostrophes; left != 0; left &= left - 1) {
    const int i = LowestBit(left);
    const int size = SizeOfContraction(text + w.Offset(i), /*ignores_case=*/true);
    if (size > 0) starts |= Bit(i + size);
  }
  return starts;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
uint64_t CutAsGpt2(const char* text, const Window& w) {
  const uint64_t other_starts = StartsOfRuns(w.others) & ~(w.blanks << 1);
  const uint64_t visible = w.letters | w.numbers | w.others;
  uint64_t starts = (StartsOfRuns(w.letters) | StartsOfRuns(w.numbers)) & ~(w.blanks << 1);
  starts |= other_starts | w.digits | w.digits << 1;
  starts |= StartsOfRuns(w.spaces) | (w.spaces & visible >> 1);
  for (uint64_t left = other_starts & w.apostrophes & w.letters >> 1; left != 0; left &= left - 1) {
    const int i = LowestBit(left);
    const int size = SizeOfContraction(text + w.Offset(i), /*ignores_case=*/false);
    if (size > 0) starts = (starts & ~Bit(i + 1)) | Bit(i + size);
  }
  return starts;
}

}  // namespace

uint64_t CutWindow(const char* text, bool reaches_end, const WordPattern& pattern,
                   const Window& window) {
  uint64_t starts =
      pattern.is_gpt4 ? CutAsGpt4(text, pattern.numbers_at_once, window) : CutAsGpt2(text, window);
  starts |= 1;
  if (reaches_end) return starts & (~uint64_t{0} >> (64 - window.size));
  // The last run of one class may go on behind the window: up to its start all is certain.
  const uint64_t runs = StartsOfRuns(window.letters) | StartsOfRuns(window.numbers) |
                        StartsOfRuns(window.digits) | StartsOfRuns(window.spaces) |
                        StartsOfRuns(window.others);
  return starts & (~uint64_t{0} >> (63 - HighestBit(runs)));
}

namespace {

// Reads on from a place in a text.
class Reader {
 public:
  Reader(const char* at, const char* end, const CharClasses& classes)
      : at_(at), end_(end), classes_(&classes) {}

  const char* at() const { return at_; }
  bool IsAtEnd() const { return at_ == end_; }
  bool IsAt(CharClass c) const { return at_ < end_ && classes_->Of(CodeOfCharacter(at_)) == c; }
  bool IsAtByte(char byte) const { return at_ < end_ && *at_ == byte; }
  bool IsAtNewline() const { return IsAtByte('\r') || IsAtByte('\n'); }
  bool IsAtVisible() const {
    return IsAt(CharClass::kLetter) || IsAt(CharClass::kNumber) || IsAt(CharClass::kOther);
  }
  void Step() { at_ += SizeOfCharacter(*at_); }
  const char* EndOfRun(CharClass c, int64_t at_most = INT64_MAX) {
    for (; at_most > 0 && IsAt(c); --at_most) Step();
    return at_;
  }

 private:
  const char* at_;
  const char* end_;
  const CharClasses* classes_;
};

const char* EndOfSpaces(Reader reader, bool ends_with_newline) {
  const char* const start = reader.at();
  const char* last = start;
  const char* behind_newline = nullptr;
  while (reader.IsAt(CharClass::kSpace)) {
    const bool is_newline = reader.IsAtNewline();
    last = reader.at();
    reader.Step();
    if (is_newline) behind_newline = reader.at();
  }
  if (ends_with_newline && behind_newline != nullptr) return behind_newline;
  return reader.IsAtVisible() && last > start ? last : reader.at();
}

const char* EndAsGpt4(Reader reader, int numbers_at_once) {
  Reader next = reader;
  next.Step();
  if (!reader.IsAtNewline() && !reader.IsAt(CharClass::kNumber) && next.IsAt(CharClass::kLetter)) {
    return next.EndOfRun(CharClass::kLetter);
  }
  if (reader.IsAt(CharClass::kLetter)) return next.at();
  if (reader.IsAt(CharClass::kNumber)) return reader.EndOfRun(CharClass::kNumber, numbers_at_once);
  if (reader.IsAtByte(' ') && next.IsAt(CharClass::kOther)) reader = next;
  if (reader.IsAt(CharClass::kOther)) {
    reader.EndOfRun(CharClass::kOther);
    while (reader.IsAtNewline()) reader.Step();
    return reader.at();
  }
  return EndOfSpaces(reader, /*ends_with_newline=*/true);
}

const char* EndAsGpt2(Reader reader) {
  Reader next = reader;
  next.Step();
  if (reader.IsAtByte(' ') && next.IsAtVisible()) reader = next;
  for (const CharClass c : {CharClass::kLetter, CharClass::kNumber, CharClass::kOther}) {
    if (reader.IsAt(c)) return reader.EndOfRun(c);
  }
  return EndOfSpaces(reader, /*ends_with_newline=*/false);
}

}  // namespace

const char* EndOfWord(const char* text, const char* end, const WordPattern& pattern,
                      const CharClasses& classes) {
  Reader reader(text, end, classes);
  if (reader.IsAt(CharClass::kDigit)) {
    reader.Step();
    return reader.at();
  }
  if (reader.IsAtByte('\'')) {
    char next[3] = {'\'', '\0', '\0'};
    for (int i = 1; i < 3 && text + i < end; ++i) next[i] = text[i];
    const int size = SizeOfContraction(next, pattern.is_gpt4);
    if (size > 0) return text + size;
  }
  return pattern.is_gpt4 ? EndAsGpt4(reader, pattern.numbers_at_once) : EndAsGpt2(reader);
}

}  // namespace codemix
