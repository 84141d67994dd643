#include "split_tree.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"

namespace codemix {
namespace {

using int128 = __int128;
using uint128 = unsigned __int128;

constexpr int kLog2Units = 20;
// 2 c * 2^20 + 2^20 stays below 2^63.
constexpr int64_t kMaxSamples = int64_t{1} << 41;
// r W and the like in ExactCount stay below 2^124.
constexpr int kMaxLog2Spacing = 40;

// Planned from a piece's start to `offset` samples into it, in units of 2^-(s + 21) samples.
int128 PlannedInPiece(int64_t begin, int64_t end, int64_t offset, int log2_spacing) {
  return ((int128{begin} * offset) << (log2_spacing + 1)) + int128{end - begin} * offset * offset;
}

// The sources below each inner node, summed: [inner node][knot].
std::vector<std::vector<int64_t>> UnitsOfNodes(Span<const int64_t> units, int64_t num_sources,
                                               Span<const int32_t> children) {
  const int64_t num_knots = units.size() / num_sources;
  const int64_t num_inner = children.size() / 2;
  std::vector<std::vector<int64_t>> sums(num_inner, std::vector<int64_t>(num_knots));
  // A child comes after its parent, so backwards each is complete before it is added.
  for (int64_t node = num_inner - 1; node >= 0; --node) {
    for (const int32_t child : {children[2 * node], children[2 * node + 1]}) {
      for (int64_t knot = 0; knot < num_knots; ++knot) {
        sums[node][knot] += child < 0 ? units[knot * num_sources + ~child] : sums[child][knot];
      }
    }
  }
  return sums;
}

void CheckTree(Span<const int32_t> children, int64_t num_sources) {
  const int64_t num_inner = children.size() / 2;
  CHECK(children.size() == 2 * (num_sources - 1), num_sources, " sources need ", num_sources - 1,
        " inner nodes, not ", num_inner);
  std::vector<bool> has_parent(num_sources + num_inner);
  for (int64_t i = 0; i < children.size(); ++i) {
    const int64_t child = children[i];
    CHECK(-num_sources <= child && child < num_inner, "child ", child, " of node ", i / 2,
          " does not exist");
    CHECK(child < 0 || child > i / 2, "child ", child, " of node ", i / 2, " does not come later");
    const int64_t place = child < 0 ? num_inner + ~child : child;
    CHECK(!has_parent[place], "child ", child, " has two parents");
    has_parent[place] = true;
  }
}

void CheckUnits(Span<const int64_t> units, int64_t num_sources) {
  const int64_t num_knots = units.size() / num_sources;
  CHECK(num_knots >= 1 && num_knots * num_sources == units.size(), units.size(), " units for ",
        num_sources, " sources");
  std::vector<bool> is_used(num_sources);
  for (int64_t knot = 0; knot < num_knots; ++knot) {
    int64_t sum = 0;
    for (int64_t source = 0; source < num_sources; ++source) {
      const int64_t n = units[knot * num_sources + source];
      CHECK(0 <= n && n <= int64_t{1} << kLog2Units, "units ", n, " of source ", source,
            " at knot ", knot, " are outside [0, 2^20]");
      is_used[source] = is_used[source] || n > 0;
      sum += n;
    }
    CHECK(sum == int64_t{1} << kLog2Units, "the units at knot ", knot, " sum to ", sum,
          ", not to 2^20");
  }
  for (int64_t source = 0; source < num_sources; ++source) {
    CHECK(is_used[source], "source ", source, " never has a weight");
  }
}

}  // namespace

SplitTree::SplitTree(Span<const int64_t> units, int64_t num_sources, int log2_spacing,
                     Span<const int32_t> children)
    : num_sources_(num_sources), log2_spacing_(log2_spacing) {
  CHECK(1 <= num_sources && num_sources <= std::numeric_limits<int16_t>::max(), num_sources,
        " sources; from 1 to 32767 can be mixed");
  CHECK(0 <= log2_spacing && log2_spacing <= kMaxLog2Spacing, "knots every 2^", log2_spacing,
        " samples; the exponent is from 0 to 40");
  CheckUnits(units, num_sources);
  CheckTree(children, num_sources);
  num_knots_ = units.size() / num_sources;
  const auto sums = UnitsOfNodes(units, num_sources, children);
  std::vector<int64_t> left(num_knots_);
  for (size_t node = 0; node < sums.size(); ++node) {
    const int32_t child = children[2 * node];
    for (int64_t knot = 0; knot < num_knots_; ++knot) {
      left[knot] = child < 0 ? units[knot * num_sources + ~child] : sums[child][knot];
    }
    nodes_.push_back({});
    nodes_.back().children[0] = child;
    nodes_.back().children[1] = children[2 * node + 1];
    AddNode({sums[node].data(), num_knots_}, {left.data(), num_knots_});
  }
}

void SplitTree::AddNode(Span<const int64_t> units, Span<const int64_t> left) {
  Node& node = nodes_.back();
  int64_t some = 0;
  while (units[some] == 0) ++some;
  node.is_proportional = true;
  for (int64_t knot = 0; knot < num_knots_; ++knot) {
    if (left[knot] * units[some] != left[some] * units[knot]) node.is_proportional = false;
  }
  is_all_proportional_ = is_all_proportional_ && node.is_proportional;
  if (node.is_proportional) {
    MakeProportional(node, left[some], units[some]);
  } else {
    AddPieces(node, units, left);
  }
}

// Division of n < 2^63 by d = 2 * total: n * ceil(2^(63 + l) / d) >> (63 + l) with 2^l >= d is
// exact, because the factor is less than d / 2^(63 + l) too large (Granlund and Montgomery 1994).
void SplitTree::MakeProportional(Node& node, int64_t left, int64_t total) const {
  node.twice_left = 2 * static_cast<uint64_t>(left);
  node.total = total;
  const uint128 divisor = 2 * static_cast<uint128>(total);
  int log2 = 0;
  while ((uint128{1} << log2) < divisor) ++log2;
  node.magic = static_cast<uint64_t>(((uint128{1} << (63 + log2)) + divisor - 1) / divisor);
  node.shift = log2 - 1;
}

void SplitTree::AddPieces(Node& node, Span<const int64_t> units, Span<const int64_t> left) {
  node.first_piece = static_cast<int64_t>(pieces_.size());
  const int64_t spacing = int64_t{1} << log2_spacing_;
  int64_t steepest = 0;
  int64_t steepest_left = 0;
  int64_t last_used = 0;
  ExactPiece exact{};
  for (int64_t knot = 0; knot < num_knots_; ++knot) {
    if (units[knot] > 0) last_used = knot;
    const bool has_end = knot + 1 < num_knots_;
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
      std::ldexp(static_cast<double>(steepest + steepest_left), -kLog2Units - log2_spacing_);
  node.margin = slopes / 8 + std::ldexp(1.0, log2_spacing_ - 47) + std::ldexp(1.0, -47);
}

SplitTree::Piece SplitTree::Estimate(const ExactPiece& exact) const {
  const int bits = log2_spacing_ + 1 + kLog2Units;
  const int128 sample = int128{1} << bits;
  const auto samples = [&](int128 planned) {
    return std::ldexp(static_cast<double>(planned), -bits);
  };
  const auto weight = [](int64_t units) {
    return std::ldexp(static_cast<double>(units), -kLog2Units);
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

inline int64_t SplitTree::ProportionalCount(const Node& node, int64_t arrivals) {
  const uint64_t number = static_cast<uint64_t>(arrivals) * node.twice_left + node.total;
  return static_cast<int64_t>(
      static_cast<uint64_t>((static_cast<uint128>(number) * node.magic) >> 64) >> node.shift);
}

// `piece`: where to look first; then where it is.
inline int64_t SplitTree::VaryingCount(const Node& node, int64_t arrivals, int64_t& piece) const {
  const Piece* pieces = &pieces_[node.first_piece];
  const int64_t last = num_knots_ - 1;
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
    if (rest > node.margin && rest < 1 - node.margin) return here.left_whole + whole;
  }
  return ExactCount(exact_pieces_[node.first_piece + piece], piece == last, arrivals);
}

// floor(L(T^-1(arrivals)) + 1/2) in integers.
int64_t SplitTree::ExactCount(const ExactPiece& piece, bool is_last, int64_t arrivals) const {
  const int s = log2_spacing_;
  const int bits = s + 1 + kLog2Units;
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

int64_t SplitTree::LeftCount(const Node& node, int64_t arrivals) const {
  int64_t piece = 0;
  return node.is_proportional ? ProportionalCount(node, arrivals)
                              : VaryingCount(node, arrivals, piece);
}

inline void SplitTree::LocateOne(int64_t sample, int16_t& source, int64_t& draw) const {
  int32_t child = nodes_.empty() ? ~0 : 0;
  int64_t arrivals = sample;
  int64_t piece = std::min(sample >> log2_spacing_, num_knots_ - 1);
  while (child >= 0) {
    const Node& node = nodes_[child];
    int64_t before;
    int64_t after;
    if (node.is_proportional) {
      before = ProportionalCount(node, arrivals);
      after = ProportionalCount(node, arrivals + 1);
    } else {
      before = VaryingCount(node, arrivals, piece);
      int64_t next = piece;
      after = VaryingCount(node, arrivals + 1, next);
    }
    const bool goes_right = after == before;
    child = node.children[goes_right];
    arrivals = goes_right ? arrivals - before : before;
  }
  source = static_cast<int16_t>(~child);
  draw = arrivals;
}

void SplitTree::LocateProportional(Span<const int64_t> samples, Span<int16_t> sources,
                                   Span<int64_t> draws) const {
  for (int64_t i = 0; i < samples.size(); ++i) {
    int32_t child = nodes_.empty() ? ~0 : 0;
    int64_t arrivals = samples[i];
    while (child >= 0) {
      const Node& node = nodes_[child];
      const int64_t before = ProportionalCount(node, arrivals);
      const bool goes_right = ProportionalCount(node, arrivals + 1) == before;
      child = node.children[goes_right];
      arrivals = goes_right ? arrivals - before : before;
    }
    sources[i] = static_cast<int16_t>(~child);
    draws[i] = arrivals;
  }
}

void SplitTree::Locate(Span<const int64_t> samples, Span<int16_t> sources,
                       Span<int64_t> draws) const {
  for (const int64_t sample : samples) {
    CHECK(0 <= sample && sample < kMaxSamples, "sample ", sample, " is outside [0, 2^41)");
  }
  if (is_all_proportional_) return LocateProportional(samples, sources, draws);
  for (int64_t i = 0; i < samples.size(); ++i) LocateOne(samples[i], sources[i], draws[i]);
}

void SplitTree::Counts(int64_t n, Span<int64_t> counts) const {
  CHECK(0 <= n && n <= kMaxSamples, n, " samples are outside [0, 2^41]");
  CHECK(counts.size() == num_sources_, counts.size(), " counts for ", num_sources_, " sources");
  AddCounts(nodes_.empty() ? ~0 : 0, n, counts);
}

void SplitTree::AddCounts(int32_t child, int64_t arrivals, Span<int64_t> counts) const {
  if (child < 0) {
    counts[~child] = arrivals;
    return;
  }
  const Node& node = nodes_[child];
  const int64_t left = LeftCount(node, arrivals);
  AddCounts(node.children[0], left, counts);
  AddCounts(node.children[1], arrivals - left, counts);
}

}  // namespace codemix
