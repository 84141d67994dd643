#include "batch/batch_reader.h"

#include <utility>

#include "batch/unchecked_blocks.h"
#include "common/check.h"

namespace codemix {

namespace {

bool IsKnown(const KnownPeriod& known, Span<const int64_t> samples) {
  const int64_t period = known.table.order.size();
  for (const int64_t sample : samples) {
    if (!known.is_known[sample % period >> known.block_shift]) return false;
  }
  return true;
}

// Parts in columns, as the gather takes them.
struct PartColumns {
  explicit PartColumns(int64_t num_rows) {
    for (auto* column : {&row, &first, &length}) column->reserve(num_rows + 1);
    source.reserve(num_rows + 1);
  }

  RowParts View() const {
    const auto size = static_cast<int64_t>(row.size());
    return {{source.data(), size}, {row.data(), size}, {first.data(), size}, {length.data(), size}};
  }

  std::vector<int16_t> source;
  std::vector<int64_t> row, first, length;
};

}  // namespace

BatchReader::BatchReader(TokenGather& gather, SegmentDraws draws, int64_t first_sample,
                         int64_t stop_sample, std::vector<WindowSource> sources)
    : gather_(gather),
      draws_(draws),
      first_sample_(first_sample),
      stop_sample_(stop_sample),
      sources_(std::move(sources)) {
  CHECK(0 <= first_sample, "the segment starts at ", first_sample);
  if (const auto* known = std::get_if<KnownPeriod>(&draws_)) {
    const int64_t period = known->table.order.size();
    CHECK(period >= 1 && 0 <= known->block_shift && known->block_shift < 63 &&
              (period - 1) >> known->block_shift < known->is_known.size(),
          "a period of ", period, " does not lie in ", known->is_known.size(), " blocks of 2^",
          known->block_shift);
  }
}

bool BatchReader::Read(Span<const int64_t> samples, Matrix<int64_t> tokens, Matrix<int64_t> labels,
                       Span<int16_t> source_ids) const {
  const int64_t num_rows = samples.size();
  CHECK(tokens.rows == num_rows && source_ids.size() == num_rows, num_rows, " samples, ",
        tokens.rows, " rows of tokens, ", source_ids.size(), " of source_ids");
  std::vector<int64_t> draws(num_rows);
  if (!Locate(samples, source_ids, {draws.data(), num_rows})) return false;

  PartColumns parts(num_rows);
  std::vector<WindowOrder::Lookup> lookups;
  lookups.reserve(sources_.size());
  for (const WindowSource& source : sources_) lookups.emplace_back(*source.order);
  for (int64_t row = 0; row < num_rows; ++row) {
    const auto place = static_cast<size_t>(source_ids[row]);
    CHECK(place < sources_.size(), "source ", place, " of ", sources_.size());
    const WindowSource& source = sources_[place];
    const int64_t cursor = source.first_cursor + draws[row];
    if (cursor >= source.stop_cursor) return false;
    bool is_checked = true;
    lookups[place].ForEachPart(cursor, [&](int64_t first, int64_t length) {
      is_checked &= AreBlocksChecked(first, length, source.block_shift, source.is_checked);
      parts.source.push_back(source.number);
      parts.row.push_back(row);
      parts.first.push_back(first);
      parts.length.push_back(length);
    });
    if (!is_checked) return false;
    source_ids[row] = source.number;
  }
  std::vector<int64_t> counts(num_rows);
  gather_.TokensAndLabels(parts.View(), /*fill=*/0, tokens, labels, {counts.data(), num_rows});
  return true;
}

bool BatchReader::Locate(Span<const int64_t> samples, Span<int16_t> sources,
                         Span<int64_t> draws) const {
  std::vector<int64_t> in_segment(samples.size());
  for (int64_t i = 0; i < samples.size(); ++i) {
    if (samples[i] < first_sample_ || samples[i] >= stop_sample_) return false;
    in_segment[i] = samples[i] - first_sample_;
  }
  const Span<const int64_t> asked(in_segment.data(), samples.size());
  if (const auto* known = std::get_if<KnownPeriod>(&draws_)) {
    if (!IsKnown(*known, asked)) return false;
    LocateInPeriod(known->table, asked, sources, draws);
  } else {
    std::get<const SplitTree*>(draws_)->Locate(asked, sources, draws);
  }
  return true;
}

}  // namespace codemix
