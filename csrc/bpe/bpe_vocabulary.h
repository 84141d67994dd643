// A byte-level BPE vocabulary: what each byte, and each pair of tokens that is merged, becomes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/span.h"

namespace codemix {

class BpeVocabulary {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // More would not fit a slot of 8 bytes; the largest vocabularies in use have 2^18 entries.
  static constexpr uint32_t kMaxTokens = 1 << 21;
  static constexpr uint32_t kMaxMerges = 1 << 22;

  // `tokens`: entries as a tokenizer.json spells them, a character of GPT-2's table for each byte;
  // `merges`: pairs of them, the first one first. With `keeps_known_words` a word that is a token
  // is not merged from its bytes. Throws where a byte or a merged token is no entry.
  BpeVocabulary(const std::vector<std::pair<std::string_view, uint32_t>>& tokens,
                const std::vector<std::pair<std::string_view, std::string_view>>& merges,
                bool keeps_known_words);

  // Tokens of a word (its UTF-8 bytes, at least one) to `out`, which has room for one a byte.
  // Returns their number.
  int64_t Encode(std::string_view word, uint32_t* out) const;

 private:
  // The rank of the merge of two tokens that stand side by side: the lowest comes first. kNone
  // where they are not merged.
  uint32_t RankOf(uint32_t left, uint32_t right) const {
    const uint64_t key = KeyOf(left, right);
    for (uint64_t i = PlaceOf(key);; i = (i + 1) & mask_) {
      if (slots_[i] >> kRankBits == key) return slots_[i] & (kMaxMerges - 1);
      if (slots_[i] == kEmpty) return kNone;
    }
  }

  static constexpr int kRankBits = 22;
  static constexpr uint64_t kEmpty =
      UINT64_MAX;  // the key of no pair: ids are below kMaxTokens - 1

  static uint64_t KeyOf(uint32_t left, uint32_t right) {
    return static_cast<uint64_t>(left) << 21 | right;
  }
  uint64_t PlaceOf(uint64_t key) const { return key * 0x9e3779b97f4a7c15 >> shift_; }
  void Insert(uint32_t left, uint32_t right, uint32_t rank);
  int64_t MergeFew(int64_t count, uint32_t* tokens, uint32_t* ranks) const;
  int64_t MergeMany(int64_t count, uint32_t* tokens) const;

  std::vector<uint64_t> slots_;  // key, rank
  uint64_t mask_;
  int shift_;
  std::vector<uint32_t> merged_;           // by rank: the token of a merge
  std::vector<uint32_t> byte_pair_ranks_;  // of what two bytes are, by both: half of all searches
  uint32_t byte_tokens_[256];
  std::unordered_map<std::string, uint32_t> known_words_;  // by their bytes
};

}  // namespace codemix
