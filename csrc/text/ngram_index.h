// Which of many n-grams, of various lengths, stand in a text: tells what documents hold of the
// items of an evaluation.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "common/span.h"
#include "text/word_ngrams.h"

namespace codemix {

class NgramIndex {
 public:
  struct Match {
    int64_t first_word;
    int64_t entry;
  };

  // lengths: words of each n-gram; hashes: of all its words (Words::HashNgrams). An n-gram is
  // looked for where its first `gate_lengths` words (at most all of it) may be, of which `gates`
  // are the other hashes (Words::HashNgramsByRolling): one of these at each word serves all n-grams
  // of a gate length.
  NgramIndex(Span<const int32_t> lengths, Span<const uint64_t> hashes,
             Span<const int32_t> gate_lengths, Span<const uint64_t> gates);

  // In the order of the words, then of the lengths.
  std::vector<Match> Find(const Words& words) const;

 private:
  // n-grams with gates of one length.
  struct Level {
    explicit Level(int32_t gate_length, int64_t num_gates);

    bool MayHave(uint64_t gate) const {
      const uint64_t bit = gate >> shift;
      return (bits[bit / 64] >> bit % 64 & 1) != 0;
    }

    int32_t gate_length;
    int shift;                   // leaves a gate's highest bits
    std::vector<uint64_t> bits;  // whether an n-gram may have a gate with these
    std::vector<int32_t> lengths;
    std::vector<std::unordered_map<uint64_t, int64_t>> entries;  // of each length, by hash
  };

  void FindAt(const Words& words, int64_t first, const Level& level,
              std::vector<Match>* matches) const;

  std::vector<int32_t> lengths_;
  std::vector<Level> levels_;
};

}  // namespace codemix
