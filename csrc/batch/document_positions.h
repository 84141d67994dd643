// Which document each token of a batch is from, and where in it.
#pragma once

#include <cstdint>
#include <vector>

#include "common/span.h"

namespace codemix {

// The document lengths of a source's shard, int32 as they lie in its .idx file: at any address.
struct DocumentLengths {
  const void* data;
  int64_t size;
};

// Pieces as in RowParts, with where each starts.
struct LocatedParts {
  Span<const int16_t> source;  // number of the shard
  Span<const int64_t> row;
  Span<const int64_t> length;    // tokens, at least 1
  Span<const int64_t> document;  // of the first token, in the shard
  Span<const int64_t> offset;    // of the first token in that document
};

// For every token of a row but the last of a full window of columns + 1: documents becomes the
// number of its document in its shard, positions how many tokens of the same part and document
// precede it in the row. Where a row has ended, documents is -1 and positions count from 0.
// Refuses parts outside the shards or the rows.
void FillDocumentPositions(const std::vector<DocumentLengths>& shards, const LocatedParts& parts,
                           Matrix<int64_t> documents, Matrix<int64_t> positions);

}  // namespace codemix
