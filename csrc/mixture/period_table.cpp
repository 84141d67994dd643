#include "mixture/period_table.h"

#include "common/check.h"

namespace codemix {

void LocateInPeriod(const PeriodTable& table, Span<const int64_t> samples, Span<int16_t> sources,
                    Span<int64_t> draws) {
  const int64_t period = table.order.size();
  CHECK(period >= 1, "the table is empty");
  CHECK(table.draws.size() == period, table.draws.size(), " draws for ", period, " positions");
  const auto num_sources = static_cast<uint64_t>(table.draws_per_period.size());
  // Neighbours mostly lie in one period: the division is repeated only where one is left.
  int64_t number = 0;
  int64_t first = 0;
  for (int64_t i = 0; i < samples.size(); ++i) {
    const int64_t sample = samples[i];
    if (sample - first < 0 || sample - first >= period) {
      CHECK(sample >= 0, "sample ", sample, " is negative");
      number = sample / period;
      first = number * period;
    }
    const int16_t source = table.order[sample - first];
    CHECK(static_cast<uint64_t>(source) < num_sources, "source ", source, " in the table of ",
          num_sources);
    sources[i] = source;
    draws[i] = table.draws[sample - first] + number * table.draws_per_period[source];
  }
}

}  // namespace codemix
