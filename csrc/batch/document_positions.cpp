#include "batch/document_positions.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "common/check.h"

namespace codemix {

namespace {

int32_t LengthOf(const DocumentLengths& shard, int64_t document) {
  int32_t length;
  std::memcpy(&length, static_cast<const char*>(shard.data) + document * sizeof(length),
              sizeof(length));
  return length;
}

void CheckColumns(const LocatedParts& parts) {
  const int64_t size = parts.source.size();
  CHECK(parts.row.size() == size && parts.length.size() == size && parts.document.size() == size &&
            parts.offset.size() == size,
        "the parts' columns have ", size, ", ", parts.row.size(), ", ", parts.length.size(), ", ",
        parts.document.size(), " and ", parts.offset.size(), " entries");
}

}  // namespace

void FillDocumentPositions(const std::vector<DocumentLengths>& shards, const LocatedParts& parts,
                           Matrix<int64_t> documents, Matrix<int64_t> positions) {
  CheckColumns(parts);
  CHECK(positions.rows == documents.rows && positions.columns == documents.columns,
        "positions are ", positions.rows, " x ", positions.columns, ", documents ", documents.rows,
        " x ", documents.columns);
  std::vector<int64_t> filled(documents.rows, 0);
  const auto fill = [&](int64_t row, int64_t document, int64_t length) {
    const int64_t begin = filled[row];
    const int64_t end = std::min(begin + length, documents.columns);
    const int64_t base = row * documents.columns;
    std::fill(documents.data + base + begin, documents.data + base + end, document);
    std::iota(positions.data + base + begin, positions.data + base + end, int64_t{0});
    filled[row] = end;
  };
  for (int64_t i = 0; i < parts.source.size(); ++i) {
    const int64_t source = parts.source[i], row = parts.row[i];
    CHECK(0 <= source && source < static_cast<int64_t>(shards.size()), "part ", i, " is of source ",
          source, " of ", shards.size());
    CHECK(0 <= row && row < documents.rows, "part ", i, " is of row ", row, " of ", documents.rows);
    CHECK(parts.length[i] >= 1 && parts.offset[i] >= 0, "part ", i, " is ", parts.length[i],
          " tokens from ", parts.offset[i], " on");
    const DocumentLengths& shard = shards[source];
    int64_t offset = parts.offset[i];
    int64_t document = parts.document[i];
    for (int64_t left = parts.length[i]; left > 0; ++document) {
      CHECK(0 <= document && document < shard.size, "part ", i, " reaches document ", document,
            " of the ", shard.size, " of source ", source);
      const int64_t rest = LengthOf(shard, document) - offset;
      CHECK(rest >= 0, "part ", i, " starts ", offset, " tokens into document ", document,
            " of source ", source);
      const int64_t length = std::min(rest, left);
      fill(row, document, length);
      left -= length;
      offset = 0;
    }
  }
  for (int64_t row = 0; row < documents.rows; ++row) fill(row, -1, documents.columns);
}

}  // namespace codemix
