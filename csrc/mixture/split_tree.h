// An order of sources for weights that change over time: stateless, exact, with random access.
#pragma once

#include <cstdint>
#include <vector>

#include "common/span.h"
#include "mixture/split_node.h"

namespace codemix {

// Weights are integer units / 2^20 at knots every 2^s samples, on a straight line between knots,
// constant after the last; at each knot they sum to 2^20. Within one sample a weight is constant
// (the mean over the sample), so the samples planned for a source up to any time are exact
// multiples of 2^-(s + 21).
//
// The sources are the leaves of a binary tree, and each inner node deals what arrives at it to its
// two sides. Let T(t) be the samples planned for a node up to time t, and L(t) those for its left
// side. Of the first c samples that arrive, floor(L(T^-1(c)) + 1/2) go left, the others right.
// L grows no faster than T, so one more arrival sends at most one more to the left: what goes
// where, and as which draw, follows from c alone. What is T^-1(c) where T no longer grows does not
// matter as long as it is the same for all; here the last weights go on.
//
// If c differs from T(t) by at most e, and the left share of the node's weight is at most f at any
// time, what goes left differs from L(t) by at most 1/2 + f e; likewise on the right. The caller
// picks a tree for which this keeps every source within its bound.
//
// Samples go through the tree by blocks, node after node, so that a node's loop has its numbers at
// hand and the latencies of one sample overlap with those of others.
class SplitTree {
 public:
  // units: [num_knots, num_sources], row after row. children: [num_inner, 2], the left and right
  // side of each inner node, the root first: another inner node, or ~source.
  SplitTree(Span<const int64_t> units, int64_t num_sources, int log2_spacing,
            Span<const int32_t> children);

  int64_t num_sources() const { return num_sources_; }

  // Source, and which of its draws it is, of each of `samples` (0 to 2^41, in any order).
  void Locate(Span<const int64_t> samples, Span<int16_t> sources, Span<int64_t> draws) const;

  // Draws of each source among the first n samples.
  void Counts(int64_t n, Span<int64_t> counts) const;

 private:
  // Samples that go through the tree together.
  struct Block {
    Block(int64_t num_nodes, int64_t size)
        : arrivals(size), spare(size), of_node(num_nodes, {nullptr, 0}) {}

    std::vector<Arrival> arrivals;
    std::vector<Arrival> spare;
    std::vector<Span<Arrival>> of_node;  // a part of `arrivals` each
  };

  int32_t Root() const { return nodes_.empty() ? ~0 : 0; }
  void LocateBlock(Span<const int64_t> samples, Block& block, Span<int16_t> sources,
                   Span<int64_t> draws) const;

  int64_t num_sources_;
  int64_t num_knots_;
  int log2_spacing_;
  std::vector<int32_t> children_;  // as given
  std::vector<SplitNode> nodes_;
};

}  // namespace codemix
