// Documents packed into rows of a fixed length by best fit decreasing (Ding et al. 2024, "Fewer
// Truncations Improve Language Modeling", arXiv 2404.10830).
//
// A document longer than a row is cut from its beginning into pieces of a row's length, each a row
// of its own, and what is left. Those remainders and the documents of at most a row's length are
// taken longest first, equal ones in the order of the documents, and each put into the row with the
// least room that it fits into, the one that got this room last among equals; a new row where it
// fits into none. Within a row, remainders come before whole documents, each in the documents'
// order.
//
// O(tokens / row length + documents * log64(row length)); a tree of bitmaps finds the room.
//
// Part of a run's identity: the data order follows from it, so it never changes.
#pragma once

#include <cstdint>
#include <vector>

#include "common/span.h"

namespace codemix {

// Piece p is tokens [offset[p], offset[p] + length[p]) of document[p]; row r is the pieces
// [row_start[r], row_start[r + 1]).
struct PackedRows {
  std::vector<int64_t> row_start;
  std::vector<int64_t> document;
  std::vector<int64_t> offset;
  std::vector<int32_t> length;
};

// Raises on a negative length or row_length < 1. Empty documents are left out.
PackedRows PackBestFit(Span<const int32_t> document_lengths, int32_t row_length);

}  // namespace codemix
