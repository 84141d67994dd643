// Batches of the default order, from the numbers of samples to tokens and labels in one call.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "batch/token_gather.h"
#include "common/span.h"
#include "mixture/period_table.h"
#include "mixture/split_tree.h"
#include "order/window_order.h"

namespace codemix {

// A repeating order of sources, and which blocks of 2^block_shift positions of the period are
// worked out; others may set it meanwhile.
struct KnownPeriod {
  PeriodTable table;
  Span<const bool> is_known;
  int block_shift;
};

// Which source each sample of a segment is drawn from, and which of its draws that is.
using SegmentDraws = std::variant<KnownPeriod, const SplitTree*>;

// A source of the segment, as far as it may be read without asking.
struct WindowSource {
  int16_t number;  // of its tokens in the gather, and in the batch
  const WindowOrder* order;
  int64_t first_cursor;         // window of its first draw in the segment
  int64_t stop_cursor;          // the first that is not to be read yet
  Span<const bool> is_checked;  // block of 2^block_shift tokens; others may set it meanwhile
  int block_shift;
};

class BatchReader {
 public:
  // A segment of samples [first_sample, stop_sample); `sources` in the order of its draws. What is
  // pointed to stays for as long as this object is used.
  BatchReader(TokenGather& gather, SegmentDraws draws, int64_t first_sample, int64_t stop_sample,
              std::vector<WindowSource> sources);

  // Row r of `tokens` and `labels` becomes sample samples[r], source_ids[r] its source. False, and
  // only source_ids touched, where a sample is outside the segment, or its draw, its epoch or one
  // of its blocks is not known or checked yet. Thread-safe.
  bool Read(Span<const int64_t> samples, Matrix<int64_t> tokens, Matrix<int64_t> labels,
            Span<int16_t> source_ids) const;

 private:
  bool Locate(Span<const int64_t> samples, Span<int16_t> sources, Span<int64_t> draws) const;

  TokenGather& gather_;
  SegmentDraws draws_;
  int64_t first_sample_;
  int64_t stop_sample_;
  std::vector<WindowSource> sources_;
};

}  // namespace codemix
