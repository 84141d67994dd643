// GPTDataset's document index and sample index, made together.
#pragma once

#include <cstdint>

#include "common/span.h"
#include "megatron/mersenne_twister.h"
#include "megatron/sample_index.h"

namespace codemix {

// As BuildDocumentIndex of documents 0, 1, ... and then BuildSampleIndex, for at most 2^31 - 1
// entries. Each length goes through the shuffle beside its document's number, which waits for the
// same number of cache lines; looking lengths up afterwards would wait for as many again. Takes 8
// bytes an entry while it shuffles and gives them back as it writes.
void BuildDocumentAndSampleIndex(Span<const int32_t> document_lengths, int64_t num_epochs,
                                 bool separate_final_epoch, const SampleLayout& layout,
                                 MersenneTwister& rng, Span<int32_t> document_index,
                                 Span<int32_t> sample_index);

}  // namespace codemix
