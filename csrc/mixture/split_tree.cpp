#include "mixture/split_tree.h"

#include <algorithm>
#include <limits>

#include "common/check.h"

namespace codemix {
namespace {

// 2 c * 2^20 + 2^20 stays below 2^63.
constexpr int64_t kMaxSamples = int64_t{1} << 41;
// r W and the like in ExactCount stay below 2^124.
constexpr int kMaxLog2Spacing = 40;
// Samples that go through the tree together: enough for a node's loop to be worth starting, few
// enough to stay in the cache.
constexpr int64_t kBlock = 1024;

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
      CHECK(0 <= n && n <= int64_t{1} << kLog2MixtureUnits, "units ", n, " of source ", source,
            " at knot ", knot, " are outside [0, 2^20]");
      is_used[source] = is_used[source] || n > 0;
      sum += n;
    }
    CHECK(sum == int64_t{1} << kLog2MixtureUnits, "the units at knot ", knot, " sum to ", sum,
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
  children_.assign(children.begin(), children.end());
  const auto sums = UnitsOfNodes(units, num_sources, children);
  std::vector<int64_t> left(num_knots_);
  for (size_t node = 0; node < sums.size(); ++node) {
    const int32_t child = children[2 * node];
    for (int64_t knot = 0; knot < num_knots_; ++knot) {
      left[knot] = child < 0 ? units[knot * num_sources + ~child] : sums[child][knot];
    }
    nodes_.emplace_back(Span<const int64_t>(sums[node].data(), num_knots_),
                        Span<const int64_t>(left.data(), num_knots_), log2_spacing);
  }
}

void SplitTree::Locate(Span<const int64_t> samples, Span<int16_t> sources,
                       Span<int64_t> draws) const {
  for (const int64_t sample : samples) {
    CHECK(0 <= sample && sample < kMaxSamples, "sample ", sample, " is outside [0, 2^41)");
  }
  Block block(static_cast<int64_t>(nodes_.size()), std::min(samples.size(), kBlock));
  for (int64_t i = 0; i < samples.size(); i += kBlock) {
    const int64_t size = std::min(kBlock, samples.size() - i);
    LocateBlock(samples.subspan(i, size), block, sources.subspan(i, size), draws.subspan(i, size));
  }
}

void SplitTree::LocateBlock(Span<const int64_t> samples, Block& block, Span<int16_t> sources,
                            Span<int64_t> draws) const {
  for (int32_t i = 0; i < samples.size(); ++i) {
    const int64_t piece = std::min(samples[i] >> log2_spacing_, num_knots_ - 1);
    block.arrivals[i] = {samples[i], i, static_cast<int32_t>(piece)};
  }
  const auto deliver = [&](int32_t child, Span<Arrival> arrivals) {
    if (child >= 0) {
      block.of_node[child] = arrivals;
      return;
    }
    for (const Arrival& arrival : arrivals) {
      sources[arrival.place] = static_cast<int16_t>(~child);
      draws[arrival.place] = arrival.number;
    }
  };
  deliver(Root(), {block.arrivals.data(), samples.size()});
  // A child comes after its parent, so each finds what its parent sent it.
  for (size_t node = 0; node < nodes_.size(); ++node) {
    const Span<Arrival> here = block.of_node[node];
    const int64_t left = nodes_[node].Divide(here, {block.spare.data(), here.size()});
    deliver(children_[2 * node], here.subspan(0, left));
    deliver(children_[2 * node + 1], here.subspan(left, here.size() - left));
  }
}

void SplitTree::Counts(int64_t n, Span<int64_t> counts) const {
  CHECK(0 <= n && n <= kMaxSamples, n, " samples are outside [0, 2^41]");
  CHECK(counts.size() == num_sources_, counts.size(), " counts for ", num_sources_, " sources");
  std::vector<int64_t> arrivals(nodes_.size());
  const auto deliver = [&](int32_t child, int64_t count) {
    (child < 0 ? counts[~child] : arrivals[child]) = count;
  };
  deliver(Root(), n);
  for (size_t node = 0; node < nodes_.size(); ++node) {
    const int64_t left = nodes_[node].LeftCount(arrivals[node]);
    deliver(children_[2 * node], left);
    deliver(children_[2 * node + 1], arrivals[node] - left);
  }
}

}  // namespace codemix
