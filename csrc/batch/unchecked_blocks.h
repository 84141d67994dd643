// Which blocks of a file ranges touch that nobody has checked yet.
#pragma once

#include <cstdint>
#include <vector>

#include "common/span.h"

namespace codemix {

// Item i lies in block i >> block_shift. Ranges [first, first + length) must lie in [0, num_items];
// is_checked has an entry for each block. The result is ascending, without repeats.
//
// What a loader asks before it reads a batch: with all blocks checked it costs a shift and a look
// at each range's blocks, no allocation.
std::vector<int64_t> FindUncheckedBlocks(Span<const int64_t> first, Span<const int64_t> length,
                                         int block_shift, int64_t num_items,
                                         Span<const bool> is_checked);

// Whether all blocks of one such range, which must not be empty, are checked.
bool AreBlocksChecked(int64_t first, int64_t length, int block_shift, Span<const bool> is_checked);

}  // namespace codemix
