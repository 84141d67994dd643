#include "megatron/blending_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/check.h"

namespace codemix {

void BuildBlendingIndex(Span<const double> weights, Span<int16_t> dataset_index,
                        Span<int64_t> dataset_sample_index) {
  const int64_t num_datasets = weights.size();
  CHECK(1 <= num_datasets && num_datasets <= std::numeric_limits<int16_t>::max(), num_datasets,
        " datasets; from 1 to 32767 can be blended");
  for (const double weight : weights) {
    CHECK(std::isfinite(weight) && weight >= 0, "a weight is ", weight);
  }
  CHECK(dataset_index.size() == dataset_sample_index.size(), "the two indices differ in size");

  // Counts as doubles too: converting them in the inner loop would be half of its work. They are
  // exact up to 2^53.
  std::vector<double> drawn(num_datasets, 0.0);
  std::vector<int64_t> num_drawn(num_datasets, 0);
  for (int64_t sample = 0; sample < dataset_index.size(); ++sample) {
    const double position = std::max(static_cast<double>(sample), 1.0);
    int64_t furthest_behind = 0;
    double max_error = weights[0] * position - drawn[0];
    for (int64_t dataset = 1; dataset < num_datasets; ++dataset) {
      const double error = weights[dataset] * position - drawn[dataset];
      if (error > max_error) {
        max_error = error;
        furthest_behind = dataset;
      }
    }
    dataset_index[sample] = static_cast<int16_t>(furthest_behind);
    dataset_sample_index[sample] = num_drawn[furthest_behind]++;
    drawn[furthest_behind] += 1.0;
  }
}

}  // namespace codemix
