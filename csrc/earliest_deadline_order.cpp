#include "earliest_deadline_order.h"

#include <limits>
#include <vector>

#include "check.h"

namespace codemix {
namespace {

using int128 = __int128;

// Keeps W * (2k - 2) and all that is derived from it within int64 for any k that int16 can number.
constexpr int64_t kMaxTotalWeight = int64_t{1} << 40;
constexpr int64_t kMaxSamples = int64_t{1} << 62;

int64_t CeilDiv(int64_t a, int64_t b) { return a / b + (a % b > 0 ? 1 : 0); }

// One source: how far it is behind plan, and when its next draw may and must happen.
struct Source {
  int64_t weight;
  int64_t behind;  // n w - x W at time `updated_at`
  int64_t updated_at;
  int64_t release;   // first sample number (from 1) that may be this source's next draw
  int64_t deadline;  // first sample number at which that draw is due
};

class EarliestDeadline {
 public:
  EarliestDeadline(Span<const int64_t> weights, Span<const int64_t> counts) {
    const int64_t num_sources = weights.size();
    CHECK(1 <= num_sources && num_sources <= std::numeric_limits<int16_t>::max(), num_sources,
          " sources; from 1 to 32767 can be mixed");
    CHECK(counts.size() == num_sources, counts.size(), " counts for ", num_sources, " sources");
    int128 position = 0;
    for (int64_t i = 0; i < num_sources; ++i) {
      CHECK(weights[i] >= 1 && weights[i] <= kMaxTotalWeight, "weight ", weights[i], " of source ",
            i, " is outside [1, 2^40]");
      CHECK(counts[i] >= 0, "count ", counts[i], " of source ", i, " is negative");
      total_weight_ += weights[i];
      position += counts[i];
    }
    CHECK(total_weight_ <= kMaxTotalWeight, "the weights sum to ", total_weight_, ", above 2^40");
    CHECK(position <= kMaxSamples, "the counts sum to more than 2^62");
    position_ = static_cast<int64_t>(position);
    // With one source e is 1: it is always exactly on plan.
    const int64_t inverse_e = num_sources == 1 ? 1 : 2 * num_sources - 2;
    release_level_ = CeilDiv(total_weight_, inverse_e);
    max_behind_ = total_weight_ - release_level_;
    sources_.reserve(num_sources);
    for (int64_t i = 0; i < num_sources; ++i) AddSource(i, weights[i], counts[i]);
  }

  int16_t Draw() {
    const int64_t now = ++position_;
    int64_t chosen = -1;
    int64_t earliest = std::numeric_limits<int64_t>::max();
    const int64_t num_sources = static_cast<int64_t>(sources_.size());
    for (int64_t i = 0; i < num_sources; ++i) {
      if (sources_[i].release <= now && sources_[i].deadline < earliest) {
        earliest = sources_[i].deadline;
        chosen = i;
      }
    }
    CHECK(chosen >= 0 && earliest >= now,
          "no order within the bound goes on from these counts (at "
          "sample ",
          now, "): they are not counts of this order");
    Source& source = sources_[chosen];
    source.behind += (now - source.updated_at) * source.weight - total_weight_;
    source.updated_at = now;
    Schedule(source);
    return static_cast<int16_t>(chosen);
  }

 private:
  void AddSource(int64_t number, int64_t weight, int64_t count) {
    const int128 behind = int128{position_} * weight - int128{count} * total_weight_;
    CHECK(-max_behind_ <= behind && behind <= max_behind_, "source ", number, " with count ", count,
          " after ", position_, " samples is further from its plan than this order ever is");
    sources_.push_back({weight, static_cast<int64_t>(behind), position_, 0, 0});
    Schedule(sources_.back());
  }

  void Schedule(Source& source) const {
    source.release = FirstTimeAt(source, release_level_);
    source.deadline = FirstTimeAt(source, max_behind_ + 1);
  }

  // The first sample number at which `source`, not drawn again, is at least `level` behind.
  int64_t FirstTimeAt(const Source& source, int64_t level) const {
    return source.updated_at + CeilDiv(level - source.behind, source.weight);
  }

  std::vector<Source> sources_;
  int64_t total_weight_ = 0;
  int64_t position_ = 0;       // samples so far
  int64_t release_level_ = 0;  // ceil(e W): n w - x W at which a draw is allowed
  int64_t max_behind_ = 0;     // floor((1 - e) W): the largest |n w - x W| within the bound
};

}  // namespace

void BuildEarliestDeadlineOrder(Span<const int64_t> weights, Span<int64_t> counts,
                                Span<int16_t> order, Span<int64_t> draws) {
  CHECK(order.size() == draws.size(), "the two outputs differ in size");
  EarliestDeadline schedule(weights, {counts.data(), counts.size()});
  for (int64_t sample = 0; sample < order.size(); ++sample) {
    const int16_t source = schedule.Draw();
    order[sample] = source;
    draws[sample] = counts[source]++;
  }
}

}  // namespace codemix
