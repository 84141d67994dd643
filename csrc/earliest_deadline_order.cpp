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

// First sample numbers at which a source, draw after draw, is at least some level behind: a line of
// slope total / weight, rounded up. Kept with its remainder, it goes on without a division.
struct Line {
  int64_t slack;  // value * weight minus what was rounded up, in [0, weight)

  int64_t Next(int64_t value, int64_t weight, int64_t quotient, int64_t remainder) {
    slack -= remainder;
    const int64_t is_short = slack < 0;
    slack += is_short * weight;
    return value + quotient + is_short;
  }
};

struct Source {
  int64_t weight;
  int64_t quotient;  // of the sum of the weights by this one
  int64_t remainder;
  Line release;
  Line deadline;
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
    const int64_t* releases = releases_.data();
    const int64_t* deadlines = deadlines_.data();
    // No branches: which source is next cannot be predicted.
    for (int64_t i = 0; i < num_sources; ++i) {
      const bool is_earlier = (releases[i] <= now) & (deadlines[i] < earliest);
      earliest = is_earlier ? deadlines[i] : earliest;
      chosen = is_earlier ? i : chosen;
    }
    CHECK(chosen >= 0 && earliest >= now,
          "no order within the bound goes on from these counts (at "
          "sample ",
          now, "): they are not counts of this order");
    Source& source = sources_[chosen];
    releases_[chosen] =
        source.release.Next(releases_[chosen], source.weight, source.quotient, source.remainder);
    deadlines_[chosen] =
        source.deadline.Next(deadlines_[chosen], source.weight, source.quotient, source.remainder);
    return static_cast<int16_t>(chosen);
  }

 private:
  void AddSource(int64_t number, int64_t weight, int64_t count) {
    const int128 behind = int128{position_} * weight - int128{count} * total_weight_;
    CHECK(-max_behind_ <= behind && behind <= max_behind_, "source ", number, " with count ", count,
          " after ", position_, " samples is further from its plan than this order ever is");
    Source source{weight, total_weight_ / weight, total_weight_ % weight, {}, {}};
    releases_.push_back(FirstTimeAt(release_level_, behind, weight, source.release));
    deadlines_.push_back(FirstTimeAt(max_behind_ + 1, behind, weight, source.deadline));
    sources_.push_back(source);
  }

  // The first sample number at which a source that is now `behind`, and not drawn, is at least
  // `level` behind.
  int64_t FirstTimeAt(int64_t level, int128 behind, int64_t weight, Line& line) const {
    const int64_t missing = level - static_cast<int64_t>(behind);
    const int64_t samples = CeilDiv(missing, weight);
    line.slack = samples * weight - missing;
    return position_ + samples;
  }

  std::vector<Source> sources_;
  std::vector<int64_t> releases_;   // first sample number (from 1) that may be the next draw
  std::vector<int64_t> deadlines_;  // first sample number at which that draw is due
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
