// Rows of tokens, put together from pieces of several sources' token arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "common/span.h"
#include "common/thread_pool.h"

namespace codemix {

// The tokens of a source's shard: `size` of uint16 (token_bytes 2) or int32 (4).
struct TokenArray {
  const void* data;
  int64_t size;
  int token_bytes;
};

// Pieces in reading order; those of a row are neighbours. Columns of one size.
struct RowParts {
  Span<const int16_t> source;  // number of the token array
  Span<const int64_t> row;
  Span<const int64_t> first;   // its first token in the array
  Span<const int64_t> length;  // tokens, at least 1
};

class TokenGather {
 public:
  // The arrays stay where they are for as long as this object is used.
  TokenGather(std::vector<TokenArray> sources, int num_threads);

  // Row r is the window of tokens that its parts make, of up to columns + 1; tokens[r] becomes the
  // window without its last token and labels[r] the window without its first, both with `fill`
  // where the window has ended. counts[r]: tokens of the window.
  // Refuses parts outside the arrays or the rows before anything is written.
  void TokensAndLabels(const RowParts& parts, int64_t fill, Matrix<int64_t> tokens,
                       Matrix<int64_t> labels, Span<int64_t> counts);

  // The windows themselves, of up to `columns` tokens, as they are stored: every source that the
  // parts name must have the rows' type.
  template <typename Token>
  void Windows(const RowParts& parts, Token fill, Matrix<Token> rows, Span<int64_t> counts);

 private:
  struct Piece {
    const char* data;
    int token_bytes;
    int64_t length;
    int64_t row;
    int64_t offset;  // of its first token in the row's window
  };

  // The parts checked and located; `counts` is filled.
  std::vector<Piece> Locate(const RowParts& parts, int64_t window, Span<int64_t> counts) const;

  // copy(piece, begin, end) for all of every piece, `step` tokens at a time and the memory of what
  // comes next asked for meanwhile; on several threads where `bytes` are worth it.
  template <typename Copy>
  void CopyAll(const std::vector<Piece>& pieces, int64_t bytes, int64_t step, const Copy& copy);

  std::vector<TokenArray> sources_;
  ThreadPool pool_;
};

}  // namespace codemix
