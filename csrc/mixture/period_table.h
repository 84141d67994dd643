// Random access to an order of sources that repeats.
#pragma once

#include <cstdint>

#include "common/span.h"

namespace codemix {

// order[p] is the source of position p of a period, draws[p] which of its draws within the period
// that is; draws_per_period[i] are all draws of source i in a period.
struct PeriodTable {
  Span<const int16_t> order;
  Span<const int32_t> draws;
  Span<const int64_t> draws_per_period;
};

// Source and draw number, over all periods, of each of `samples` (>= 0, in any order).
void LocateInPeriod(const PeriodTable& table, Span<const int64_t> samples, Span<int16_t> sources,
                    Span<int64_t> draws);

}  // namespace codemix
