// Texts to tokens of a byte-level BPE: the same tokens as `tokenizers`, and fast.
//
// Most words of a text have been seen before. So a word is looked up, with one read of 16 bytes, in
// a table of bounded size, and merged from its bytes only where it is not there.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "batch/token_buffer.h"
#include "bpe/bpe_added_tokens.h"
#include "bpe/bpe_split.h"
#include "bpe/bpe_vocabulary.h"
#include "bpe/bpe_word_cache.h"
#include "common/span.h"

namespace codemix {

// Token: uint16_t or int32_t, as the shard has it.
template <typename Token>
class BpeEncoder {
 public:
  // `early_tokens` are looked for in the text, `late_tokens` in what is left between those.
  BpeEncoder(BpeVocabulary vocabulary, WordPattern pattern, AddedTokens early_tokens,
             AddedTokens late_tokens);

  // What characters from U+0080 on are; a text with one that was never told is not encoded.
  void SetClass(uint32_t code, CharClass char_class) { classes_.Set(code, char_class); }

  // Tokens of all texts (valid UTF-8), one after another, each that is not empty with `end` behind
  // it (none if negative), until the next call. `lengths` has the number of each text's tokens, the
  // end with them: -1, and no tokens, for a text that is left to the reference.
  Span<const Token> Encode(Span<const std::string_view> texts, int64_t end, Span<int32_t> lengths);

 private:
  // 6 MB with uint16_t, 11 MB with int32_t.
  using ShortWords = WordCache<Token, 2, 16>;
  using LongWords = WordCache<Token, 4, 14>;
  static constexpr int64_t kMaxTokensAtOnce = LongWords::kMaxTokens;

  struct Word {
    const char* text;
    int64_t size;
    typename ShortWords::Key key;  // and place: of short words only
    typename ShortWords::Entry* place;
  };

  bool EncodeText(const char* text, const char* end);
  bool EncodeLateTokens(const char* text, const char* end);
  bool EncodeOrdinary(const char* text, const char* end);
  void EncodeWindow(const char* text, const Window& window, uint64_t cuts);
  void AppendWord(const char* text, int64_t size);
  Token* EncodeWord(const Word& word, Token* out);
  Token* EncodeLongWord(const char* word, int64_t size, Token* out);
  Token* EncodeRareWord(const char* word, int64_t size, Token* out);

  BpeVocabulary vocabulary_;
  WordPattern pattern_;
  CharClasses classes_;
  AddedTokens early_tokens_, late_tokens_;
  ShortWords short_words_;
  LongWords long_words_;
  TokenBuffer<Token> tokens_;
  std::vector<uint32_t> scratch_;
};

}  // namespace codemix
