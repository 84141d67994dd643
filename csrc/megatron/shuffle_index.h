// The order in which samples are read (GPTDataset's shuffle_index).
#pragma once

#include <cstdint>

#include "common/span.h"
#include "megatron/mersenne_twister.h"

namespace codemix {

// Writes 0, 1, ..., size - 1 with the first `num_samples` shuffled among themselves and then the
// rest among themselves. Index is uint32_t or int64_t.
template <typename Index>
void BuildShuffleIndex(int64_t num_samples, MersenneTwister& rng, Span<Index> shuffle_index);

}  // namespace codemix
