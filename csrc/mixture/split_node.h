// An inner node of a SplitTree: which of the samples that arrive at it go to its left side.
#pragma once

#include <cstdint>
#include <vector>

#include "common/span.h"

namespace codemix {

constexpr int kLog2MixtureUnits = 20;

// A sample on its way from the root to a source.
struct Arrival {
  int64_t number;  // how many arrived before it
  int32_t place;   // among the samples that were asked for
  int32_t piece;   // between which knots it is, more or less
};

// Of the first c samples that arrive, floor(L(T^-1(c)) + 1/2) go left (see split_tree.h).
//
// A node whose share never changes divides exactly by one 64-bit multiplication. In others c is
// placed by the root of a quadratic in floating point, and where that is too close to a rounding
// border to be certain, by bisection in 128-bit integers.
class SplitNode {
 public:
  // Units / 2^20 of the node and of its left side at knots every 2^log2_spacing samples.
  SplitNode(Span<const int64_t> units, Span<const int64_t> left, int log2_spacing);

  // How many of the first `arrivals` go left.
  int64_t LeftCount(int64_t arrivals) const;

  // Moves what goes left to the front, the rest behind it, both in the order they had, and numbers
  // them anew by their side. Returns how many go left. `spare` has room for all.
  int64_t Divide(Span<Arrival> arrivals, Span<Arrival> spare) const;

 private:
  // Weights of the node, and of its left side, from one knot to the next.
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
  class ProportionalSplit;
  class VaryingSplit;

  void SetProportion(int64_t left, int64_t total);
  void AddPieces(Span<const int64_t> units, Span<const int64_t> left);
  Piece Estimate(const ExactPiece& exact) const;

  int64_t ProportionalCount(int64_t arrivals) const;
  int64_t VaryingCount(int64_t arrivals, int32_t& piece) const;
  int64_t ExactCount(const ExactPiece& piece, bool is_last, int64_t arrivals) const;

  int log2_spacing_;
  bool is_proportional_ = true;
  // Proportional: left count = (c * twice_left + total) / (2 total), by multiplication.
  uint64_t twice_left_ = 0;
  uint64_t total_ = 0;
  uint64_t magic_ = 0;
  int shift_ = 0;
  // Otherwise: pieces, the last of which has no end, and how close to a border is uncertain.
  double margin_ = 0;
  std::vector<Piece> pieces_;
  std::vector<ExactPiece> exact_pieces_;
};

}  // namespace codemix
