#include "mixture/draw_times.h"

#include <limits>

#include "common/check.h"

namespace codemix {
namespace {

using int128 = __int128;

// Keeps W * (2k - 2) and all that is derived from it within int64 for any k that int16 can number.
constexpr int64_t kMaxTotalWeight = int64_t{1} << 40;

}  // namespace

DrawPlan::DrawPlan(Span<const int64_t> weights) : weights(weights) {
  const int64_t num_sources = weights.size();
  CHECK(1 <= num_sources && num_sources <= std::numeric_limits<int16_t>::max(), num_sources,
        " sources; from 1 to 32767 can be mixed");
  for (int64_t i = 0; i < num_sources; ++i) {
    CHECK(weights[i] >= 1 && weights[i] <= kMaxTotalWeight, "weight ", weights[i], " of source ", i,
          " is outside [1, 2^40]");
    total_weight += weights[i];
  }
  CHECK(total_weight <= kMaxTotalWeight, "the weights sum to ", total_weight, ", above 2^40");
  // With one source e is 1: it is always exactly on plan.
  const int64_t inverse_e = num_sources == 1 ? 1 : 2 * num_sources - 2;
  release_level = (total_weight + inverse_e - 1) / inverse_e;
  max_behind = total_weight - release_level;
}

DrawTimes::DrawTimes(const DrawPlan& plan, int64_t source, int64_t draw)
    : weight_(plan.weights[source]),
      quotient_(plan.total_weight / weight_),
      remainder_(plan.total_weight % weight_),
      release_(LineFrom(plan, draw, plan.release_level)),
      deadline_(LineFrom(plan, draw, plan.max_behind + 1)) {}

DrawTimes::Line DrawTimes::LineFrom(const DrawPlan& plan, int64_t draw, int64_t level) const {
  const int128 reached = int128{draw} * plan.total_weight + level;
  const int128 time = (reached + weight_ - 1) / weight_;
  return {static_cast<int64_t>(time), static_cast<int64_t>(time * weight_ - reached)};
}

}  // namespace codemix
