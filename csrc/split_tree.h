// An order of sources for weights that change over time: stateless, exact, with random access.
#pragma once

#include <cstdint>
#include <vector>

#include "span.h"

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
// A node whose shares never change divides exactly by one 64-bit multiplication. In others c is
// placed by the root of a quadratic in floating point, and where that is too close to a rounding
// border to be certain, by bisection in 128-bit integers.
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
  // Weights of a node, and of its left side, from one knot to the next.
  struct Piece {
    int64_t first;       // the first arrival in this piece or later
    double lead;         // first minus the samples planned before the piece, in [0, 1)
    double weight;       // at the piece's start
    double twice_slope;  // of the weight, per sample
    int64_t left_whole;  // samples planned for the left side before the piece: whole ones,
    double left_rest;    // and the rest, plus the half for rounding
    double left_weight;
    double left_half_slope;
  };
  struct ExactPiece {
    __int128 planned;  // before the piece, in units of 2^-(s + 21) samples; likewise left_planned
    __int128 left_planned;
    int64_t begin, end;  // units at its two knots
    int64_t left_begin, left_end;
  };
  struct Node {
    int32_t children[2];
    bool is_proportional;
    // Proportional: left count = (c * twice_left + total) / (2 total), by multiplication.
    uint64_t twice_left;
    uint64_t total;
    uint64_t magic;
    int shift;
    // Otherwise: pieces, the last of which has no end, and how close to a border is uncertain.
    int64_t first_piece;
    double margin;
  };

  void AddNode(Span<const int64_t> node, Span<const int64_t> left);
  void MakeProportional(Node& node, int64_t left, int64_t total) const;
  void AddPieces(Node& node, Span<const int64_t> units, Span<const int64_t> left);
  Piece Estimate(const ExactPiece& exact) const;

  static int64_t ProportionalCount(const Node& node, int64_t arrivals);
  int64_t VaryingCount(const Node& node, int64_t arrivals, int64_t& piece) const;
  int64_t ExactCount(const ExactPiece& piece, bool is_last, int64_t arrivals) const;
  int64_t LeftCount(const Node& node, int64_t arrivals) const;
  void LocateOne(int64_t sample, int16_t& source, int64_t& draw) const;
  void LocateProportional(Span<const int64_t> samples, Span<int16_t> sources,
                          Span<int64_t> draws) const;
  void AddCounts(int32_t child, int64_t arrivals, Span<int64_t> counts) const;

  int64_t num_sources_;
  int64_t num_knots_;
  int log2_spacing_;
  bool is_all_proportional_ = true;
  std::vector<Node> nodes_;
  std::vector<Piece> pieces_;
  std::vector<ExactPiece> exact_pieces_;
};

}  // namespace codemix
