// The order of sources that keeps every prefix closest to the mixture.
#pragma once

#include <cstdint>

#include "common/span.h"

namespace codemix {

// Tijdeman's solution of the chairman assignment problem (R. Tijdeman, "The chairman assignment
// problem", Discrete Mathematics 32, 1980), for constant weights.
//
// Let k sources have weights w_i with sum W, let x_i be the draws from source i among the first n
// samples, and e = 1 / (2k - 2). Sample n + 1 may come from source i if that draw would not put it
// more than 1 - e ahead of plan, (n + 1) w_i / W - x_i >= e, and the draw is due at the first t at
// which t w_i / W - x_i > 1 - e. Of the sources that may be drawn take the one whose draw is due
// first (the lowest number on a tie). Then |x_i - n w_i / W| <= 1 - e for every source and every n,
// and no order of k sources does better in general. After W / gcd(w) samples every x_i is exactly
// its plan, so the order repeats.
//
// `counts` holds x_i where the order goes on and is brought up to date. order[s] is the source of
// the s-th next sample, draws[s] its x_i before the draw. Integers only: e_i = n w_i - x_i W stays
// within [-W, W].
//
// When a draw is allowed and when it is due depends on nothing but its number, and whom a sample
// takes on nothing but draws that are due earlier. So draws need not be chosen sample after sample:
// in the order in which they are due, each takes the first free sample at which it is allowed. That
// costs the same however many sources there are.
void BuildEarliestDeadlineOrder(Span<const int64_t> weights, Span<int64_t> counts,
                                Span<int16_t> order, Span<int64_t> draws);

// counts[i] = x_i after the first `num_samples` (>= 0) samples. Looks back as far as the oldest
// draw that is allowed and not yet due: at most W / min(w) samples.
void CountEarliestDeadlineDraws(Span<const int64_t> weights, int64_t num_samples,
                                Span<int64_t> counts);

}  // namespace codemix
