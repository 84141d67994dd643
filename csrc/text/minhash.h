// MinHash signatures (Broder 1997) with datatrove's hash functions: the least of
// (shingle * a + b mod 2^64) mod (2^61 - 1) over a document's shingles, for each pair (a, b).
//
// The product overflows as it does in datatrove's numpy, so that the numbers are the same.
#pragma once

#include <cstdint>
#include <vector>

#include "common/span.h"

namespace codemix {

// What the signatures are computed by; all give the same.
enum class Instructions : int { kBest, kPlain, kAvx2, kAvx512 };

bool IsAvailable(Instructions instructions);

class MinHash {
 public:
  // multipliers and summands: of the functions, as many of one as of the other.
  MinHash(Span<const uint64_t> multipliers, Span<const uint64_t> summands,
          Instructions instructions);

  int64_t num_hashes() const { return num_hashes_; }

  // minima: num_hashes() numbers; all ones, which is no hash, where there is no shingle.
  void Sign(Span<const uint64_t> shingles, Span<uint64_t> minima) const;

 private:
  using Kernel = void (*)(Span<const uint64_t> shingles, const uint64_t* multipliers,
                          const uint64_t* summands, Span<uint64_t> minima);

  const int64_t num_hashes_;
  std::vector<uint64_t> multipliers_, summands_;  // filled up to whole registers
  const Kernel kernel_;
};

}  // namespace codemix
