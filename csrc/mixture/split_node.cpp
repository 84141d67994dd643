#include "mixture/split_node.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace codemix {
namespace {

using int128 = __int128;
using uint128 = unsigned __int128;

// Planned from a piece's start to `offset` samples into it, in units of 2^-(s + 21) samples.
int128 PlannedInPiece(int64_t begin, int64_t end, int64_t offset, int log2_spacing) {
  return ((int128{begin} * offset) << (log2_spacing + 1)) + int128{end - begin} * offset * offset;
}

// Stable; no branches, because which way a sample goes cannot be predicted.
template <typename Split>
int64_t DivideBy(Split split, Span<Arrival> arrivals, Span<Arrival> spare) {
  Arrival* left = arrivals.data();
  Arrival* right = spare.data();
  for (Arrival arrival : arrivals) {
    const auto [before, after] = split.Counts(arrival.number, arrival.piece);
    const bool goes_left = after != before;
    arrival.number = goes_left ? before : arrival.number - before;
    *left = arrival;  // what was here has been read
    *right = arrival;
    left += goes_left;
    right += !goes_left;
  }
  std::copy(spare.data(), right, left);
  return left - arrivals.data();
}

}  // namespace

// Both kinds of split give the left counts before and after arrivals in any order, and are quick
// where one follows upon the other.
class SplitNode::ProportionalSplit {
 public:
  explicit ProportionalSplit(const SplitNode& node)
      : node_(node), twice_left_(node.twice_left_), divisor_(2 * node.total_) {}

  std::pair<int64_t, int64_t> Counts(int64_t arrival, int32_t /*piece*/) {
    if (arrival != next_) {
      after_ = node_.ProportionalCount(arrival);
      rest_ = static_cast<uint64_t>(arrival) * twice_left_ + node_.total_ -
              static_cast<uint64_t>(after_) * divisor_;
    }
    const int64_t before = after_;
    const uint64_t more = rest_ + twice_left_;
    const bool goes_left = more >= divisor_;
    rest_ = goes_left ? more - divisor_ : more;
    after_ = before + goes_left;
    next_ = arrival + 1;
    return {before, after_};
  }

 private:
  const SplitNode& node_;
  const uint64_t twice_left_;
  const uint64_t divisor_;
  int64_t next_ = -1;  // the arrival that
  int64_t after_ = 0;  // so many to the left came before,
  uint64_t rest_ = 0;  // and the remainder of that division
};

class SplitNode::VaryingSplit {
 public:
  explicit VaryingSplit(const SplitNode& node) : node_(node) {}

  std::pair<int64_t, int64_t> Counts(int64_t arrival, int32_t& piece) {
    const int64_t before = arrival == next_ ? after_ : node_.VaryingCount(arrival, piece);
    next_ = arrival + 1;
    after_ = node_.VaryingCount(next_, piece);
    return {before, after_};
  }

 private:
  const SplitNode& node_;
  int64_t next_ = -1;
  int64_t after_ = 0;
};

SplitNode::SplitNode(Span<const int64_t> units, Span<const int64_t> left, int log2_spacing)
    : log2_spacing_(log2_spacing) {
  int64_t some = 0;
  while (units[some] == 0) ++some;
  for (int64_t knot = 0; knot < units.size(); ++knot) {
    if (left[knot] * units[some] != left[some] * units[knot]) is_proportional_ = false;
  }
  if (is_proportional_) {
    SetProportion(left[some], units[some]);
  } else {
    AddPieces(units, left);
  }
}

// Division of n < 2^63 by d = 2 * total: n * ceil(2^(63 + l) / d) >> (63 + l) with 2^l >= d is
// exact, because the factor is less than d / 2^(63 + l) too large (Granlund and Montgomery 1994).
void SplitNode::SetProportion(int64_t left, int64_t total) {
  twice_left_ = 2 * static_cast<uint64_t>(left);
  total_ = total;
  const uint128 divisor = 2 * static_cast<uint128>(total);
  int log2 = 0;
  while ((uint128{1} << log2) < divisor) ++log2;
  magic_ = static_cast<uint64_t>(((uint128{1} << (63 + log2)) + divisor - 1) / divisor);
  shift_ = log2 - 1;
}

void SplitNode::AddPieces(Span<const int64_t> units, Span<const int64_t> left) {
  const int64_t num_knots = units.size();
  const int64_t spacing = int64_t{1} << log2_spacing_;
  int64_t steepest = 0;
  int64_t steepest_left = 0;
  int64_t last_used = 0;
  ExactPiece exact{};
  for (int64_t knot = 0; knot < num_knots; ++knot) {
    if (units[knot] > 0) last_used = knot;
    const bool has_end = knot + 1 < num_knots;
    exact.begin = units[has_end ? knot : last_used];
    exact.end = units[has_end ? knot + 1 : last_used];
    exact.left_begin = left[has_end ? knot : last_used];
    exact.left_end = left[has_end ? knot + 1 : last_used];
    pieces_.push_back(Estimate(exact));
    exact_pieces_.push_back(exact);
    exact.planned += PlannedInPiece(exact.begin, exact.end, spacing, log2_spacing_);
    exact.left_planned += PlannedInPiece(exact.left_begin, exact.left_end, spacing, log2_spacing_);
    steepest = std::max(steepest, std::abs(exact.end - exact.begin));
    steepest_left = std::max(steepest_left, std::abs(exact.left_end - exact.left_begin));
  }
  // The estimate follows the parabola of a piece, the definition its chords over single samples: an
  // eighth of the slope apart, in T and in L (whose slope never exceeds that of T). Rounding: each
  // operation contributes at most a few times 2^-53 of numbers up to the spacing.
  const double slopes =
      std::ldexp(static_cast<double>(steepest + steepest_left), -kLog2MixtureUnits - log2_spacing_);
  margin_ = slopes / 8 + std::ldexp(1.0, log2_spacing_ - 47) + std::ldexp(1.0, -47);
}

SplitNode::Piece SplitNode::Estimate(const ExactPiece& exact) const {
  const int bits = log2_spacing_ + 1 + kLog2MixtureUnits;
  const int128 sample = int128{1} << bits;
  const auto samples = [&](int128 planned) {
    return std::ldexp(static_cast<double>(planned), -bits);
  };
  const auto weight = [](int64_t units) {
    return std::ldexp(static_cast<double>(units), -kLog2MixtureUnits);
  };
  const int128 first = (exact.planned + sample - 1) >> bits;
  const int128 left_whole = exact.left_planned >> bits;
  Piece piece{};
  piece.first = static_cast<int64_t>(first);
  piece.lead = samples((first << bits) - exact.planned);
  piece.weight = weight(exact.begin);
  piece.twice_slope = std::ldexp(weight(exact.end - exact.begin), 1 - log2_spacing_);
  piece.left_whole = static_cast<int64_t>(left_whole);
  piece.left_rest = samples(exact.left_planned - (left_whole << bits)) + 0.5;
  piece.left_weight = weight(exact.left_begin);
  piece.left_half_slope = std::ldexp(weight(exact.left_end - exact.left_begin), -1 - log2_spacing_);
  return piece;
}

inline int64_t SplitNode::ProportionalCount(int64_t arrivals) const {
  const uint64_t number = static_cast<uint64_t>(arrivals) * twice_left_ + total_;
  return static_cast<int64_t>(
      static_cast<uint64_t>((static_cast<uint128>(number) * magic_) >> 64) >> shift_);
}

// `piece`: where to look first; then where it is.
inline int64_t SplitNode::VaryingCount(int64_t arrivals, int32_t& piece) const {
  const Piece* pieces = pieces_.data();
  const auto last = static_cast<int32_t>(pieces_.size()) - 1;
  while (arrivals < pieces[piece].first) --piece;
  while (piece < last && arrivals >= pieces[piece + 1].first) ++piece;
  const Piece& here = pieces[piece];
  if (piece < last) {
    const double planned = static_cast<double>(arrivals - here.first) + here.lead;
    const double square = here.weight * here.weight + here.twice_slope * planned;
    const double sum = here.weight + std::sqrt(std::max(square, 0.0));
    const double offset = sum > 0 ? 2 * planned / sum : 0;
    const double left =
        here.left_rest + offset * (here.left_weight + offset * here.left_half_slope);
    const auto whole = static_cast<int64_t>(left);  // left >= 0.5 - margin
    const double rest = left - static_cast<double>(whole);
    if (rest > margin_ && rest < 1 - margin_) return here.left_whole + whole;
  }
  return ExactCount(exact_pieces_[piece], piece == last, arrivals);
}

// floor(L(T^-1(arrivals)) + 1/2) in integers.
int64_t SplitNode::ExactCount(const ExactPiece& piece, bool is_last, int64_t arrivals) const {
  const int s = log2_spacing_;
  const int bits = s + 1 + kLog2MixtureUnits;
  const int128 half = int128{1} << (bits - 1);
  const int128 planned = (int128{arrivals} << bits) - piece.planned;
  if (is_last) {
    const int128 whole = piece.left_planned >> bits;
    const int128 rest = piece.left_planned - (whole << bits) + half;
    const int128 scaled = rest * piece.end + planned * piece.left_end;
    return static_cast<int64_t>(whole + (scaled >> bits) / piece.end);
  }
  int64_t offset = 0;  // the last sample of the piece at whose start no more is planned
  for (int64_t step = int64_t{1} << s >> 1; step > 0; step >>= 1) {
    if (PlannedInPiece(piece.begin, piece.end, offset + step, s) <= planned) offset += step;
  }
  const auto grown = [&](int64_t begin, int64_t end) {
    return PlannedInPiece(begin, end, offset + 1, s) - PlannedInPiece(begin, end, offset, s);
  };
  const int128 into = planned - PlannedInPiece(piece.begin, piece.end, offset, s);
  const int128 weight = grown(piece.begin, piece.end);
  const int128 left =
      piece.left_planned + PlannedInPiece(piece.left_begin, piece.left_end, offset, s) + half;
  const int128 whole = left >> bits;
  const int128 scaled =
      (left - (whole << bits)) * weight + into * grown(piece.left_begin, piece.left_end);
  const int128 sample = weight << bits;
  return static_cast<int64_t>(whole + (scaled >= sample) + (scaled >= 2 * sample));
}

int64_t SplitNode::LeftCount(int64_t arrivals) const {
  int32_t piece = 0;
  return is_proportional_ ? ProportionalCount(arrivals) : VaryingCount(arrivals, piece);
}

int64_t SplitNode::Divide(Span<Arrival> arrivals, Span<Arrival> spare) const {
  return is_proportional_ ? DivideBy(ProportionalSplit(*this), arrivals, spare)
                          : DivideBy(VaryingSplit(*this), arrivals, spare);
}

}  // namespace codemix
