#include "bpe/bpe_encoder.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/check.h"

namespace codemix {

namespace {

constexpr int64_t kReadAhead = 32;  // bytes behind a word that are read with it
constexpr int64_t kSafeBytes = Window::kMaxBytes + kReadAhead;

}  // namespace

template <typename Token>
BpeEncoder<Token>::BpeEncoder(BpeVocabulary vocabulary, WordPattern pattern,
                              AddedTokens early_tokens, AddedTokens late_tokens)
    : vocabulary_(std::move(vocabulary)),
      pattern_(pattern),
      classes_(pattern.isolates_digits),
      early_tokens_(std::move(early_tokens)),
      late_tokens_(std::move(late_tokens)) {
  CHECK(pattern.numbers_at_once == 1 || pattern.numbers_at_once == 3, "numbers_at_once is ",
        pattern.numbers_at_once);
}

template <typename Token>
Span<const Token> BpeEncoder<Token>::Encode(Span<const std::string_view> texts, int64_t end,
                                            Span<int32_t> lengths) {
  CHECK(texts.size() == lengths.size(), lengths.size(), " lengths for ", texts.size(), " texts");
  CHECK(end <= static_cast<int64_t>(std::numeric_limits<Token>::max()), "end is ", end);
  tokens_.Truncate(0);
  for (int64_t i = 0; i < texts.size(); ++i) {
    const int64_t start = tokens_.size();
    if (!EncodeText(texts[i].data(), texts[i].data() + texts[i].size())) {
      tokens_.Truncate(start);
      lengths[i] = -1;
      continue;
    }
    if (tokens_.size() > start && end >= 0) {
      *tokens_.Reserve(1) = static_cast<Token>(end);
      tokens_.Add(1);
    }
    const int64_t length = tokens_.size() - start;
    CHECK(length <= std::numeric_limits<int32_t>::max(), "text ", i, " has ", length, " tokens");
    lengths[i] = static_cast<int32_t>(length);
  }
  return tokens_.view();
}

template <typename Token>
bool BpeEncoder<Token>::EncodeText(const char* text, const char* end) {
  const char* at = text;
  const char* found;
  for (const char* from = text; const AddedToken* token = early_tokens_.Find(from, end, &found);) {
    if (token->role == AddedToken::Role::kRefused) return false;
    from = found + token->content.size();
    if (token->role == AddedToken::Role::kText) continue;
    if (!EncodeLateTokens(at, found)) return false;
    *tokens_.Reserve(1) = static_cast<Token>(token->id);
    tokens_.Add(1);
    at = from;
  }
  return EncodeLateTokens(at, end);
}

template <typename Token>
bool BpeEncoder<Token>::EncodeLateTokens(const char* text, const char* end) {
  const char* at = text;
  const char* found;
  for (const char* from = text; const AddedToken* token = late_tokens_.Find(from, end, &found);) {
    if (token->role == AddedToken::Role::kRefused) return false;
    from = found + token->content.size();
    if (token->role == AddedToken::Role::kText) continue;
    if (!EncodeOrdinary(at, found)) return false;
    *tokens_.Reserve(1) = static_cast<Token>(token->id);
    tokens_.Add(1);
    at = from;
  }
  return EncodeOrdinary(at, end);
}

template <typename Token>
bool BpeEncoder<Token>::EncodeOrdinary(const char* text, const char* end) {
  char rest[kSafeBytes + kSafeBytes] = {};
  bool is_in_rest = false;
  Window window;
  while (text < end) {
    if (!is_in_rest && end - text < kSafeBytes) {
      std::memcpy(rest, text, end - text);
      end = rest + (end - text);
      text = rest;
      is_in_rest = true;
    }
    ReadWindow(text, end, classes_, &window);
    if (window.has_strange) return false;
    const bool reaches_end = text + window.Offset(window.size) == end;
    uint64_t cuts = CutWindow(text, reaches_end, pattern_, window);
    if (reaches_end) {
      EncodeWindow(text, window, cuts);
      const int last = 63 - __builtin_clzll(cuts);
      const char* const word = text + window.Offset(last);
      AppendWord(word, end - word);
      return true;
    }
    if (cuts == 1) {  // a word longer than the window
      const char* const word_end = EndOfWord(text, end, pattern_, classes_);
      AppendWord(text, word_end - text);
      text = word_end;
      continue;
    }
    EncodeWindow(text, window, cuts);
    text += window.Offset(63 - __builtin_clzll(cuts));
  }
  return true;
}

// The words between the cuts. They have no more tokens than bytes.
template <typename Token>
void BpeEncoder<Token>::EncodeWindow(const char* text, const Window& window, uint64_t cuts) {
  Word words[Window::kSize];
  int count = 0;
  int start = 0;
  // Memory is asked for all of them before it is looked at: most of the time goes there.
  for (uint64_t left = cuts & ~uint64_t{1}; left != 0; left &= left - 1) {
    const int end = window.Offset(__builtin_ctzll(left));
    Word& word = words[count++];
    word = {text + start, end - start, ShortWords::Key::Of(text + start, end - start), nullptr};
    word.place = short_words_.PlaceOf(word.key);
    __builtin_prefetch(word.place);
    start = end;
  }
  Token* const first = tokens_.Reserve(Window::kMaxBytes + kMaxTokensAtOnce);
  Token* out = first;
  for (int i = 0; i < count; ++i) out = EncodeWord(words[i], out);
  tokens_.Add(out - first);
}

template <typename Token>
inline Token* BpeEncoder<Token>::EncodeWord(const Word& word, Token* out) {
  if (word.size > ShortWords::Key::kMaxSize) return EncodeLongWord(word.text, word.size, out);
  const auto* const entry = ShortWords::Find(word.place, word.key);
  if (entry != nullptr) {
    std::memcpy(out, entry->tokens, sizeof(entry->tokens));
    return out + entry->count;
  }
  Token* const end = EncodeRareWord(word.text, word.size, out);
  ShortWords::Insert(word.place, word.key, out, end - out);
  return end;
}

template <typename Token>
Token* BpeEncoder<Token>::EncodeLongWord(const char* word, int64_t size, Token* out) {
  using Key = typename LongWords::Key;
  if (size > Key::kMaxSize) return EncodeRareWord(word, size, out);
  const Key key = Key::Of(word, size);
  auto* const place = long_words_.PlaceOf(key);
  const auto* const entry = LongWords::Find(place, key);
  if (entry != nullptr) {
    std::memcpy(out, entry->tokens, sizeof(entry->tokens));
    return out + entry->count;
  }
  Token* const end = EncodeRareWord(word, size, out);
  LongWords::Insert(place, key, out, end - out);
  return end;
}

template <typename Token>
Token* BpeEncoder<Token>::EncodeRareWord(const char* word, int64_t size, Token* out) {
  scratch_.resize(std::max<size_t>(scratch_.size(), size));
  const int64_t count = vocabulary_.Encode({word, static_cast<size_t>(size)}, scratch_.data());
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<Token>(scratch_[i]);
  return out + count;
}

// One word, which may be longer than a window.
template <typename Token>
void BpeEncoder<Token>::AppendWord(const char* text, int64_t size) {
  Token* const out = tokens_.Reserve(size + kMaxTokensAtOnce);
  Word word{text, size, {}, nullptr};
  if (size <= ShortWords::Key::kMaxSize) {
    word.key = ShortWords::Key::Of(text, size);
    word.place = short_words_.PlaceOf(word.key);
  }
  tokens_.Add(EncodeWord(word, out) - out);
}

template class BpeEncoder<uint16_t>;
template class BpeEncoder<int32_t>;

}  // namespace codemix
