// Megatron's greedy blend of several datasets (BlendedDataset's two indices).
#pragma once

#include <cstdint>

#include "common/span.h"

namespace codemix {

// Sample s is drawn from the dataset that is furthest behind weight * max(s, 1), the first of these
// on a tie. dataset_index[s] is its number, dataset_sample_index[s] how often it was drawn before.
void BuildBlendingIndex(Span<const double> weights, Span<int16_t> dataset_index,
                        Span<int64_t> dataset_sample_index);

}  // namespace codemix
