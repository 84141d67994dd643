#include "mixture/earliest_deadline_order.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "common/check.h"
#include "mixture/draw_times.h"

namespace codemix {
namespace {

using int128 = __int128;

constexpr int64_t kMaxSamples = int64_t{1} << 62;

// Large enough that what is done once a source is not felt, small enough for the first-level cache.
constexpr int64_t kMaxBlock = int64_t{1} << 13;

// The samples of a block that nothing has taken yet.
class FreeSamples {
 public:
  explicit FreeSamples(int64_t size) : size_(size) {
    std::fill(words_.begin(), words_.begin() + size / 64, ~uint64_t{0});
    // The bit past the last sample is always free, so that a search ends there.
    words_[size / 64] = ~uint64_t{0} >> (63 - size % 64);
  }

  // Takes the first free sample from `first` on; the block's size if there is none.
  int64_t Take(int64_t first) {
    int64_t number = first / 64;
    uint64_t word = words_[number] & (~uint64_t{0} << (first % 64));
    while (word == 0) word = words_[++number];
    const int64_t sample = 64 * number + __builtin_ctzll(word);
    if (sample < size_) words_[number] ^= word & -word;
    return sample;
  }

 private:
  int64_t size_;
  std::array<uint64_t, kMaxBlock / 64 + 1> words_;
};

class EarliestDeadline {
 public:
  EarliestDeadline(Span<const int64_t> weights, Span<const int64_t> counts) {
    const DrawPlan plan(weights);
    const int64_t num_sources = weights.size();
    CHECK(counts.size() == num_sources, counts.size(), " counts for ", num_sources, " sources");
    int128 position = 0;
    for (int64_t i = 0; i < num_sources; ++i) {
      CHECK(counts[i] >= 0, "count ", counts[i], " of source ", i, " is negative");
      position += counts[i];
    }
    CHECK(position <= kMaxSamples, "the counts sum to more than 2^62");
    position_ = static_cast<int64_t>(position);
    sources_.reserve(num_sources);
    for (int64_t i = 0; i < num_sources; ++i) {
      const int128 behind = position * weights[i] - int128{counts[i]} * plan.total_weight;
      CHECK(-plan.max_behind <= behind && behind <= plan.max_behind, "source ", i, " with count ",
            counts[i], " after ", position_,
            " samples is further from its plan than this order ever is");
      sources_.emplace_back(plan, i, counts[i]);
    }
    // A source is less than one draw behind its plan, and may go one ahead.
    due_.resize(kMaxBlock + 2 * num_sources);
    sorted_.resize(due_.size());
  }

  // The sources of the next samples, of which there are at most kMaxBlock.
  void NextBlock(Span<int16_t> order) {
    const int64_t size = order.size();
    FreeSamples free(size);
    SortDueDraws(size);
    for (int64_t n = 0; n < num_due_; ++n) {
      const Draw draw = sorted_[n];
      const int64_t sample = free.Take(draw.release);
      RequireOrder(sample <= draw.deadline, draw.deadline + 1);
      order[sample] = draw.source;
    }
    // Each source has at most one draw that is allowed within the block and due after it.
    std::sort(later_.begin(), later_.end());
    for (const auto& [deadline, source] : later_) {
      const int64_t sample = free.Take(Relative(sources_[source].release()));
      if (sample == size) continue;
      order[sample] = source;
      sources_[source].Advance();
    }
    const int64_t idle = free.Take(0);
    RequireOrder(idle == size, idle);
    position_ += size;
  }

 private:
  struct Draw {  // times count from the block's first sample
    uint16_t release;
    uint16_t deadline;
    int16_t source;
  };

  // Fills sorted_ with the draws that are due within the block, first those due first, the lowest
  // source on a tie, and later_ with those that are only allowed there.
  void SortDueDraws(int64_t size) {
    const int64_t stop = position_ + 1 + size;
    std::array<int32_t, kMaxBlock + 1> first{};  // of the draws that are due at a sample
    later_.clear();
    num_due_ = 0;
    for (size_t i = 0; i < sources_.size(); ++i) {
      DrawTimes source = sources_[i];
      for (; source.deadline() < stop; source.Advance()) {
        const auto deadline = static_cast<uint16_t>(source.deadline() - position_ - 1);
        due_[num_due_++] = {static_cast<uint16_t>(Relative(source.release())), deadline,
                            static_cast<int16_t>(i)};
        ++first[deadline + 1];
      }
      if (source.release() < stop) later_.emplace_back(source.deadline(), i);
      sources_[i] = source;
    }
    for (int64_t n = 0; n < size; ++n) first[n + 1] += first[n];
    for (int64_t n = 0; n < num_due_; ++n) sorted_[first[due_[n].deadline]++] = due_[n];
  }

  // A draw that was allowed before the block may be its first sample.
  int64_t Relative(int64_t release) const { return std::max<int64_t>(release - position_ - 1, 0); }

  void RequireOrder(bool goes_on, int64_t sample) const {
    CHECK(goes_on,
          "no order within the bound goes on from these counts (at "
          "sample ",
          position_ + 1 + sample, "): they are not counts of this order");
  }

  std::vector<DrawTimes> sources_;  // at the first draw that is not yet made
  int64_t position_ = 0;            // samples so far
  std::vector<Draw> due_;
  std::vector<Draw> sorted_;
  int64_t num_due_ = 0;
  std::vector<std::pair<int64_t, int16_t>> later_;  // (deadline, source)
};

}  // namespace

void BuildEarliestDeadlineOrder(Span<const int64_t> weights, Span<int64_t> counts,
                                Span<int16_t> order, Span<int64_t> draws) {
  CHECK(order.size() == draws.size(), "the two outputs differ in size");
  EarliestDeadline schedule(weights, {counts.data(), counts.size()});
  for (int64_t begin = 0; begin < order.size(); begin += kMaxBlock) {
    schedule.NextBlock(order.subspan(begin, std::min(kMaxBlock, order.size() - begin)));
  }
  for (int64_t sample = 0; sample < order.size(); ++sample) {
    draws[sample] = counts[order[sample]]++;
  }
}

}  // namespace codemix
