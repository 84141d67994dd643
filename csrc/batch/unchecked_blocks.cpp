#include "batch/unchecked_blocks.h"

#include <algorithm>

#include "common/check.h"

namespace codemix {

std::vector<int64_t> FindUncheckedBlocks(Span<const int64_t> first, Span<const int64_t> length,
                                         int block_shift, int64_t num_items,
                                         Span<const bool> is_checked) {
  CHECK(0 <= block_shift && block_shift < 63, "block_shift is ", block_shift);
  CHECK(num_items >= 0 && (num_items == 0 || (num_items - 1) >> block_shift < is_checked.size()),
        num_items, " items do not lie in ", is_checked.size(), " blocks of 2^", block_shift);
  CHECK(first.size() == length.size(), first.size(), " firsts, ", length.size(), " lengths");
  std::vector<int64_t> found;
  for (int64_t i = 0; i < first.size(); ++i) {
    CHECK(first[i] >= 0 && length[i] >= 0 && first[i] <= num_items &&
              length[i] <= num_items - first[i],
          "range ", i, " (first ", first[i], ", length ", length[i], ") is outside [0, ", num_items,
          ")");
    if (length[i] == 0) continue;
    const int64_t last = (first[i] + length[i] - 1) >> block_shift;
    for (int64_t block = first[i] >> block_shift; block <= last; ++block) {
      if (!is_checked[block]) found.push_back(block);
    }
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

bool AreBlocksChecked(int64_t first, int64_t length, int block_shift, Span<const bool> is_checked) {
  const int64_t last = (first + length - 1) >> block_shift;
  CHECK(0 <= first && length >= 1 && last < is_checked.size(), "tokens from ", first, " on, ",
        length, ", do not lie in ", is_checked.size(), " blocks of 2^", block_shift);
  for (int64_t block = first >> block_shift; block <= last; ++block) {
    if (!is_checked[block]) return false;
  }
  return true;
}

}  // namespace codemix
