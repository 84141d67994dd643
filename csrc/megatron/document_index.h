// The order of documents over one or more epochs (GPTDataset's document_index).
#pragma once

#include <cstdint>

#include "common/span.h"
#include "megatron/mersenne_twister.h"

namespace codemix {

// Shuffles the documents of `num_epochs` epochs, which lie one epoch after the other, together;
// with `separate_final_epoch` and more than one, the last epoch by itself.
template <typename Document>
void ShuffleEpochs(Span<Document> documents, int64_t num_epochs, bool separate_final_epoch,
                   MersenneTwister& rng) {
  const bool is_separate = separate_final_epoch && num_epochs > 1;
  const int64_t num_separate = is_separate ? documents.size() / num_epochs : 0;
  const int64_t num_together = documents.size() - num_separate;
  Shuffle(documents.subspan(0, num_together), rng);
  Shuffle(documents.subspan(num_together, num_separate), rng);
}

// Writes `num_epochs` copies of the documents first, first + 1, ... and shuffles them
// (ShuffleEpochs). Their number is document_index.size() / num_epochs, which must be whole. Index
// is int32_t or int64_t.
template <typename Index>
void BuildDocumentIndex(Index first, int64_t num_epochs, bool separate_final_epoch,
                        MersenneTwister& rng, Span<Index> document_index);

}  // namespace codemix
