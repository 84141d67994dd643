#include "text/private_marks.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/check.h"

namespace codemix {
namespace {

constexpr uint8_t kDigit = 1;
constexpr uint8_t kLower = 2;
constexpr uint8_t kUpper = 4;
constexpr uint8_t kHex = 8;        // a digit, a to f, A to F
constexpr uint8_t kJoiner = 16;    // + / _ -: with the letters and digits, what a key is made of
constexpr uint8_t kTrailing = 32;  // a byte of UTF-8 that begins no character
constexpr uint8_t kWord = kDigit | kLower | kUpper;
constexpr uint8_t kKey = kWord | kJoiner;

constexpr std::array<uint8_t, 256> MakeKinds() {
  std::array<uint8_t, 256> kinds = {};
  for (int byte = '0'; byte <= '9'; ++byte) kinds[byte] = kDigit | kHex;
  for (int byte = 'a'; byte <= 'z'; ++byte) kinds[byte] = kLower | (byte <= 'f' ? kHex : 0);
  for (int byte = 'A'; byte <= 'Z'; ++byte) kinds[byte] = kUpper | (byte <= 'F' ? kHex : 0);
  for (const char joiner : {'+', '/', '_', '-'}) kinds[static_cast<uint8_t>(joiner)] = kJoiner;
  for (int byte = 0x80; byte < 0xc0; ++byte) kinds[byte] = kTrailing;
  return kinds;
}

constexpr std::array<uint8_t, 256> kKinds = MakeKinds();
constexpr int64_t kFewestRandom = 16;

uint8_t KindAt(std::string_view text, int64_t at) {
  if (at < 0 || at >= static_cast<int64_t>(text.size())) return 0;
  return kKinds[static_cast<uint8_t>(text[at])];
}

char ByteAt(std::string_view text, int64_t at) {
  return at < 0 || at >= static_cast<int64_t>(text.size()) ? '\0' : text[at];
}

// Where four numbers that begin there end, or -1.
int64_t EndOfFourNumbers(std::string_view text, int64_t begin) {
  int64_t at = begin;
  for (int number = 0; number < 4; ++number) {
    if (number > 0 && ByteAt(text, at++) != '.') return -1;
    int digits = 0;
    while (KindAt(text, at) & kDigit) {
      ++at;
      ++digits;
    }
    if (digits < 1 || digits > 3) return -1;
  }
  return ByteAt(text, at) == '.' && KindAt(text, at + 1) & kDigit ? -1 : at;
}

int64_t EndOfColons(std::string_view text, int64_t begin) {
  if (text[begin] != '2' && text[begin] != '3') return -1;
  for (int64_t at = begin; at < begin + 4; ++at) {
    if ((KindAt(text, at) & kHex) == 0) return -1;
  }
  if (ByteAt(text, begin + 4) != ':') return -1;
  int colons = 0;
  int64_t at = begin;
  for (;; ++at) {
    const char byte = ByteAt(text, at);
    if (byte == ':') {
      ++colons;
    } else if ((KindAt(text, at) & kHex) == 0) {
      break;
    }
  }
  return colons >= 2 ? at : -1;
}

// Whether letters and digits of a run of key characters alternate as in a random key.
bool LooksRandom(std::string_view run) {
  uint8_t before = 0;
  int64_t changes = 0;
  uint8_t any = 0;
  for (const char byte : run) {
    const uint8_t kind = kKinds[static_cast<uint8_t>(byte)] & kWord;
    changes += kind != before && kind != 0 && before != 0;
    any |= kind;
    before = kind;
  }
  return any & kDigit && any & (kLower | kUpper) && 4 * changes >= static_cast<int64_t>(run.size());
}

class Scanner {
 public:
  Scanner(std::string_view text, const MarkFinder& finder) : text_(text), finder_(finder) {}

  std::vector<Mark> Scan() {
    const int64_t size = static_cast<int64_t>(text_.size());
    while (at_ < size) {
      const uint8_t kind = kKinds[static_cast<uint8_t>(text_[at_])];
      const int32_t literal = finder_.LiteralAt(text_, at_);
      if (literal >= 0) Add(MarkKind::kLiteral, literal, at_, at_ + 1);
      if (kind & kKey) {
        if (at_ >= run_end_) StartRun();
        if (kind & kDigit) TryAddress();
      } else if (kind & kTrailing) {
        ++num_trailing_;
      } else if (text_[at_] == '@') {
        TryAt();
      }
      ++at_;
    }
    return std::move(marks_);
  }

 private:
  // A run of ASCII begins at `begin`, at or behind `at_`.
  void Add(MarkKind kind, int32_t literal, int64_t begin, int64_t end) {
    marks_.push_back({kind, literal, begin - num_trailing_, end - num_trailing_});
  }

  void StartRun() {
    run_end_ = at_ + 1;
    while (KindAt(text_, run_end_) & kKey) ++run_end_;
    if (run_end_ - at_ >= kFewestRandom && LooksRandom(text_.substr(at_, run_end_ - at_))) {
      Add(MarkKind::kRandom, -1, at_, run_end_);
    }
  }

  // The digit at `at_` may be the first of an address.
  void TryAddress() {
    if (KindAt(text_, at_ - 1) & (kWord | kTrailing)) return;
    const char before = ByteAt(text_, at_ - 1);
    if (before == '.' || before == '_') return;
    int64_t end = EndOfFourNumbers(text_, at_);
    if (end > 0) {
      Add(MarkKind::kFourNumbers, -1, at_, end);
      return;
    }
    end = before == ':' ? -1 : EndOfColons(text_, at_);
    if (end > 0) Add(MarkKind::kColons, -1, at_, end);
  }

  void TryAt() {
    const char before = ByteAt(text_, at_ - 1);
    const bool is_preceded = KindAt(text_, at_ - 1) & kKey || before == '.' || before == '%';
    if (is_preceded && KindAt(text_, at_ + 1) & kWord) Add(MarkKind::kAt, -1, at_, at_ + 1);
  }

  std::string_view text_;
  const MarkFinder& finder_;
  std::vector<Mark> marks_;
  int64_t at_ = 0;            // byte that is looked at
  int64_t num_trailing_ = 0;  // bytes before it that begin no character
  int64_t run_end_ = 0;       // of key characters
};

}  // namespace

MarkFinder::MarkFinder(std::vector<std::string> literals)
    : literals_(std::move(literals)), begins_literal_(1 << 16) {
  for (const std::string& literal : literals_) {
    CHECK(literal.size() >= 2, "literal \"", literal, "\" has less than two characters");
    begins_literal_[static_cast<uint8_t>(literal[0]) << 8 | static_cast<uint8_t>(literal[1])] =
        true;
  }
}

int32_t MarkFinder::FindLiteral(std::string_view text) const {
  for (size_t i = 0; i < literals_.size(); ++i) {
    if (text.substr(0, literals_[i].size()) == literals_[i]) return static_cast<int32_t>(i);
  }
  return -1;
}

std::vector<Mark> MarkFinder::Find(std::string_view text) const {
  return Scanner(text, *this).Scan();
}

}  // namespace codemix
