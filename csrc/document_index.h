// The order of documents over one or more epochs (GPTDataset's document_index).
#pragma once

#include <cstdint>

#include "mersenne_twister.h"
#include "span.h"

namespace codemix {

// Writes `num_epochs` copies of the documents first, first + 1, ..., shuffled together; with
// `separate_final_epoch` and more than one epoch, the last copy is shuffled by itself. Their number
// is document_index.size() / num_epochs, which must be whole. Index is int32_t or int64_t.
template <typename Index>
void BuildDocumentIndex(Index first, int64_t num_epochs, bool separate_final_epoch,
                        MersenneTwister& rng, Span<Index> document_index);

}  // namespace codemix
