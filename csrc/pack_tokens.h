// Encoded documents as a token shard has them.
#pragma once

#include <cstdint>

#include "span.h"

namespace codemix {

// Writes the tokens of each document and, after each that is not empty, `end` (none where `end` is
// negative); lengths[i] is what document i takes of `packed`. borders: where each document starts
// in `tokens`, and the end of the last. Returns the tokens written. Needs borders that ascend from
// 0 to tokens.size(), tokens below `vocabulary_size`, lengths.size() == borders.size() - 1 and room
// for an end token a document. Token is uint16_t or int32_t.
template <typename Token>
int64_t PackTokens(Span<const uint32_t> tokens, Span<const int64_t> borders, int64_t end,
                   int64_t vocabulary_size, Span<Token> packed, Span<int32_t> lengths);

}  // namespace codemix
