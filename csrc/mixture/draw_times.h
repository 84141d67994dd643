// When the draws of a source may be made, and when they are due (earliest_deadline_order.h).
#pragma once

#include <cstdint>

#include "common/span.h"

namespace codemix {

// Weights in proportion to which sources are drawn, checked, and how far a source may stray from
// its plan: n w - x W is within [-max_behind, max_behind].
struct DrawPlan {
  explicit DrawPlan(Span<const int64_t> weights);

  Span<const int64_t> weights;
  int64_t total_weight = 0;
  int64_t release_level = 0;  // ceil(e W): n w - x W from which on a draw is allowed
  int64_t max_behind = 0;     // floor((1 - e) W); a draw is due when it would be passed
};

// The draws of one source, one after the other. Times are sample numbers from 1: draw x may be
// sample ceil((x W + release_level) / w) or later, and is due at ceil((x W + max_behind + 1) / w).
// The draw after it is not allowed before this one is due.
class DrawTimes {
 public:
  DrawTimes(const DrawPlan& plan, int64_t source, int64_t draw);

  int64_t release() const { return release_.time; }
  int64_t deadline() const { return deadline_.time; }

  void Advance() {
    release_.Advance(*this);
    deadline_.Advance(*this);
  }

 private:
  // A rounded-up line of slope W / w, kept with its remainder, so that it goes on without a
  // division.
  struct Line {
    int64_t time;
    int64_t slack;  // time * w minus what was rounded up, in [0, w)

    void Advance(const DrawTimes& slope) {
      slack -= slope.remainder_;
      const int64_t is_short = slack < 0;
      slack += -is_short & slope.weight_;
      time += slope.quotient_ + is_short;
    }
  };

  Line LineFrom(const DrawPlan& plan, int64_t draw, int64_t level) const;

  int64_t weight_;
  int64_t quotient_;  // of W by w
  int64_t remainder_;
  Line release_;
  Line deadline_;
};

}  // namespace codemix
