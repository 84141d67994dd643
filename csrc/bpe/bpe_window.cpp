#include <algorithm>

#include "bpe/bpe_split.h"
#include "common/check.h"
#include "common/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace codemix {

namespace {

constexpr bool IsSpace(uint32_t code) { return (code >= 9 && code <= 13) || code == ' '; }
constexpr bool IsNumber(uint32_t code) { return code >= '0' && code <= '9'; }
constexpr bool IsLetter(uint32_t code) { return (code | 0x20) >= 'a' && (code | 0x20) <= 'z'; }

uint64_t LowestBits(int count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

// Characters one at a time.
void ReadPlainly(const char* text, const char* end, const CharClasses& classes, Window* window) {
  uint64_t by_class[7] = {};
  const char* at = text;
  int i = 0;
  for (; i < Window::kSize && at < end; ++i) {
    const uint32_t code = CodeOfCharacter(at);
    const uint64_t bit = uint64_t{1} << i;
    by_class[static_cast<int>(classes.Of(code))] |= bit;
    window->newlines |= code == '\r' || code == '\n' ? bit : 0;
    window->blanks |= code == ' ' ? bit : 0;
    window->apostrophes |= code == '\'' ? bit : 0;
    window->offsets[i] = static_cast<int>(at - text);
    at += SizeOfCharacter(*at);
  }
  const auto of = [&by_class](CharClass c) { return by_class[static_cast<int>(c)]; };
  window->offsets[i] = static_cast<int>(at - text);
  window->size = i;
  window->is_ascii = false;
  window->letters = of(CharClass::kLetter);
  window->numbers = of(CharClass::kNumber);
  window->digits = of(CharClass::kDigit);
  window->spaces = of(CharClass::kSpace);
  window->others = of(CharClass::kOther);
  window->has_strange = (of(CharClass::kUnknown) | of(CharClass::kRefused)) != 0;
}

#if defined(__SSE2__)

__m128i IsBetween(__m128i bytes, char first, char last) {
  const __m128i past = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
  return _mm_cmpeq_epi8(_mm_min_epu8(past, _mm_set1_epi8(static_cast<char>(last - first))), past);
}

uint64_t Mask(__m128i bytes) { return static_cast<uint32_t>(_mm_movemask_epi8(bytes)); }

// False where a character is not ASCII. The masks have what lies behind `end` too.
bool ReadAscii(const char* text, Window* window, uint64_t* numbers) {
  for (int i = 0; i < Window::kSize; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + i));
    if (_mm_movemask_epi8(bytes) != 0) return false;
    const __m128i blanks = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(' '));
    const __m128i newlines = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')),
                                          _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')));
    window->letters |= Mask(IsBetween(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 'z')) << i;
    *numbers |= Mask(IsBetween(bytes, '0', '9')) << i;
    window->spaces |= Mask(_mm_or_si128(blanks, IsBetween(bytes, 9, 13))) << i;
    window->blanks |= Mask(blanks) << i;
    window->newlines |= Mask(newlines) << i;
    window->apostrophes |= Mask(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\''))) << i;
  }
  return true;
}

#else

bool ReadAscii(const char* text, Window* window, uint64_t* numbers) {
  for (int i = 0; i < Window::kSize; ++i) {
    const auto code = static_cast<uint8_t>(text[i]);
    if (code >= 0x80) return false;
    window->letters |= uint64_t{IsLetter(code)} << i;
    *numbers |= uint64_t{IsNumber(code)} << i;
    window->spaces |= uint64_t{IsSpace(code)} << i;
    window->blanks |= uint64_t{code == ' '} << i;
    window->newlines |= uint64_t{code == '\r' || code == '\n'} << i;
    window->apostrophes |= uint64_t{code == '\''} << i;
  }
  return true;
}

#endif

}  // namespace

CharClasses::CharClasses(bool isolates_digits) : classes_(kNumCodes, CharClass::kUnknown) {
  for (uint32_t code = 0; code < 0x80; ++code) {
    classes_[code] = IsLetter(code)    ? CharClass::kLetter
                     : IsSpace(code)   ? CharClass::kSpace
                     : !IsNumber(code) ? CharClass::kOther
                     : isolates_digits ? CharClass::kDigit
                                       : CharClass::kNumber;
  }
}

void CharClasses::Set(uint32_t code, CharClass char_class) {
  CHECK(code >= 0x80 && code < kNumCodes, "code point ", code, " is ASCII or none");
  classes_[code] = char_class;
}

void ReadWindow(const char* text, const char* end, const CharClasses& classes, Window* window) {
  window->letters = window->spaces = window->newlines = window->blanks = window->apostrophes = 0;
  uint64_t numbers = 0;
  if (!ReadAscii(text, window, &numbers)) {
    window->newlines = window->blanks = window->apostrophes = 0;
    ReadPlainly(text, end, classes, window);
    return;
  }
  const int size = static_cast<int>(std::min<int64_t>(end - text, Window::kSize));
  const uint64_t inside = LowestBits(size);
  window->size = size;
  window->is_ascii = true;
  window->has_strange = false;
  window->letters &= inside;
  window->spaces &= inside;
  window->newlines &= inside;
  window->blanks &= inside;
  window->apostrophes &= inside;
  numbers &= inside;
  window->others = inside & ~(window->letters | window->spaces | numbers);
  const bool isolates_digits = classes.Of('0') == CharClass::kDigit;
  window->digits = isolates_digits ? numbers : 0;
  window->numbers = isolates_digits ? 0 : numbers;
}

}  // namespace codemix
