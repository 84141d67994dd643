#include "megatron/shuffle_index.h"

#include <numeric>

#include "common/check.h"

namespace codemix {

template <typename Index>
void BuildShuffleIndex(int64_t num_samples, MersenneTwister& rng, Span<Index> shuffle_index) {
  const int64_t size = shuffle_index.size();
  CHECK(0 <= num_samples && num_samples <= size, "num_samples is ", num_samples, ", outside [0, ",
        size, "]");
  std::iota(shuffle_index.begin(), shuffle_index.end(), Index{0});
  Shuffle(shuffle_index.subspan(0, num_samples), rng);
  Shuffle(shuffle_index.subspan(num_samples, size - num_samples), rng);
}

template void BuildShuffleIndex(int64_t, MersenneTwister&, Span<uint32_t>);
template void BuildShuffleIndex(int64_t, MersenneTwister&, Span<int64_t>);

}  // namespace codemix
