#include "window_order.h"

#include "check.h"
#include "splitmix64.h"

namespace codemix {
namespace {

int64_t CountWindows(int64_t num_tokens, int64_t sequence_length) {
  CHECK(sequence_length >= 1, "sequence_length is ", sequence_length, ", less than 1");
  CHECK(sequence_length < num_tokens && num_tokens <= KeyedPermutation::kMaxSize, num_tokens,
        " tokens; from sequence_length + 1 = ", sequence_length + 1, " to 2^62");
  return (num_tokens - 1) / sequence_length;
}

}  // namespace

WindowOrder::WindowOrder(int64_t num_tokens, int64_t sequence_length, uint64_t key)
    : num_tokens_(num_tokens),
      sequence_length_(sequence_length),
      windows_per_epoch_(CountWindows(num_tokens, sequence_length)),
      key_(key) {}

std::shared_ptr<const WindowOrder::Epoch> WindowOrder::EpochAt(int64_t number) const {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& epoch : latest_) {
      if (epoch && epoch->number == number) return epoch;
    }
  }
  SplitMix64 random(SplitMix64::Word(key_, number));
  const int64_t offset = static_cast<int64_t>(random.NextBelow(num_tokens_));
  auto epoch = std::make_shared<const Epoch>(
      Epoch{number, offset, KeyedPermutation(windows_per_epoch_, random.Next())});
  const std::lock_guard<std::mutex> lock(mutex_);
  latest_[1] = std::move(latest_[0]);
  latest_[0] = epoch;
  return epoch;
}

WindowParts WindowOrder::Parts(Span<const int64_t> cursors) const {
  WindowParts parts;
  parts.row.reserve(cursors.size() + 1);
  parts.first.reserve(cursors.size() + 1);
  parts.length.reserve(cursors.size() + 1);
  const auto add = [&parts](int64_t row, int64_t first, int64_t length) {
    parts.row.push_back(row);
    parts.first.push_back(first);
    parts.length.push_back(length);
  };

  const int64_t window_length = sequence_length_ + 1;
  std::shared_ptr<const Epoch> epoch;
  for (int64_t row = 0; row < cursors.size(); ++row) {
    CHECK(cursors[row] >= 0, "cursor ", cursors[row], " is negative");
    const int64_t number = cursors[row] / windows_per_epoch_;
    if (!epoch || epoch->number != number) epoch = EpochAt(number);
    const int64_t window = epoch->permutation(cursors[row] - number * windows_per_epoch_);
    int64_t first = epoch->offset + window * sequence_length_;
    if (first >= num_tokens_) first -= num_tokens_;
    const int64_t before_the_end = num_tokens_ - first;
    if (before_the_end >= window_length) {
      add(row, first, window_length);
    } else {
      add(row, first, before_the_end);
      add(row, 0, window_length - before_the_end);
    }
  }
  return parts;
}

std::optional<int64_t> WindowOrder::CursorOf(int64_t epoch_number, int64_t token) const {
  CHECK(0 <= epoch_number && epoch_number <= INT64_MAX / windows_per_epoch_ - 1, "epoch ",
        epoch_number, " is negative or too large");
  CHECK(0 <= token && token < num_tokens_, "token ", token, " is outside [0, ", num_tokens_, ")");
  const auto epoch = EpochAt(epoch_number);
  const int64_t from_offset =
      token >= epoch->offset ? token - epoch->offset : token + num_tokens_ - epoch->offset;
  const int64_t window = from_offset / sequence_length_;
  if (window >= windows_per_epoch_) return std::nullopt;
  return epoch_number * windows_per_epoch_ + epoch->permutation.Find(window);
}

}  // namespace codemix
