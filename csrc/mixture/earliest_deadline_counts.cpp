// The state of the earliest-deadline order anywhere, without the order before it.
#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "common/check.h"
#include "mixture/draw_times.h"
#include "mixture/earliest_deadline_order.h"

namespace codemix {
namespace {

using int128 = __int128;

constexpr int64_t kMaxSamples = int64_t{1} << 62;
constexpr int64_t kBlock = 4096;

// Draws whose time, on a line that is `level` behind at draw 0, is at most `sample`.
int64_t DrawsUntil(const DrawPlan& plan, int64_t source, int64_t level, int64_t sample) {
  const int128 past = int128{sample} * plan.weights[source] - level;
  return past < 0 ? 0 : static_cast<int64_t>(past / plan.total_weight) + 1;
}

// A draw that is allowed and not yet due: it may have been made or not.
struct OpenDraw {
  int64_t deadline;
  int64_t source;
  int64_t release;

  bool operator<(const OpenDraw& other) const {
    return deadline != other.deadline ? deadline < other.deadline : source < other.source;
  }
};

// Samples in (begin, end] that the draws due until `end` leave free; ascending. At `begin` all
// draws that are allowed are due until `end`; those that are not yet made take samples as they
// come.
std::set<int64_t> SamplesLeftFree(const DrawPlan& plan, Span<const int64_t> num_due, int64_t begin,
                                  int64_t end) {
  const int64_t num_sources = plan.weights.size();
  std::vector<DrawTimes> next;
  next.reserve(num_sources);
  std::vector<int64_t> left(num_sources);
  int64_t waiting = -begin;
  for (int64_t i = 0; i < num_sources; ++i) {
    const int64_t num_allowed = DrawsUntil(plan, i, plan.release_level, begin);
    next.emplace_back(plan, i, num_allowed);
    left[i] = num_due[i] - num_allowed;
    waiting += num_allowed;
  }
  std::set<int64_t> free;
  for (int64_t first = begin + 1; first <= end; first += kBlock) {
    const int64_t size = std::min(kBlock, end + 1 - first);
    std::array<uint16_t, kBlock> num_allowed{};  // at each sample; at most one of each source
    for (int64_t i = 0; i < num_sources; ++i) {
      DrawTimes source = next[i];
      for (; left[i] > 0 && source.release() < first + size; --left[i]) {
        ++num_allowed[source.release() - first];
        source.Advance();
      }
      next[i] = source;
    }
    for (int64_t n = 0; n < size; ++n) {
      waiting += num_allowed[n];
      if (waiting == 0) {
        free.insert(free.end(), first + n);
      } else {
        --waiting;
      }
    }
  }
  return free;
}

}  // namespace

void CountEarliestDeadlineDraws(Span<const int64_t> weights, int64_t num_samples,
                                Span<int64_t> counts) {
  const DrawPlan plan(weights);
  CHECK(0 <= num_samples && num_samples <= kMaxSamples, "num_samples is ", num_samples,
        ", outside [0, 2^62]");
  CHECK(counts.size() == weights.size(), "counts has ", counts.size(), " entries, not ",
        weights.size());
  std::vector<OpenDraw> open;
  int64_t begin = num_samples;
  for (int64_t i = 0; i < weights.size(); ++i) {
    // What is due has been made.
    counts[i] = DrawsUntil(plan, i, plan.max_behind + 1, num_samples);
    const DrawTimes next(plan, i, counts[i]);
    if (next.release() > num_samples) continue;
    open.push_back({next.deadline(), i, next.release()});
    begin = std::min(begin, next.release() - 1);
  }
  std::set<int64_t> free =
      SamplesLeftFree(plan, {counts.data(), counts.size()}, begin, num_samples);
  std::sort(open.begin(), open.end());
  for (const OpenDraw& draw : open) {
    const auto sample = free.lower_bound(draw.release);
    if (sample == free.end()) continue;
    free.erase(sample);
    ++counts[draw.source];
  }
}

}  // namespace codemix
