#include "order/window_order.h"

#include "common/check.h"
#include "common/splitmix64.h"

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

int64_t WindowOrder::Lookup::First(int64_t cursor) {
  CHECK(cursor >= 0, "cursor ", cursor, " is negative");
  const int64_t number = cursor / order_->windows_per_epoch_;
  if (!epoch_ || epoch_->number != number) epoch_ = order_->EpochAt(number);
  const int64_t window = epoch_->permutation(cursor - number * order_->windows_per_epoch_);
  const int64_t first = epoch_->offset + window * order_->sequence_length_;
  return first < order_->num_tokens_ ? first : first - order_->num_tokens_;
}

WindowParts WindowOrder::Parts(Span<const int64_t> cursors) const {
  WindowParts parts;
  parts.row.reserve(cursors.size() + 1);
  parts.first.reserve(cursors.size() + 1);
  parts.length.reserve(cursors.size() + 1);
  Lookup lookup(*this);
  for (int64_t row = 0; row < cursors.size(); ++row) {
    lookup.ForEachPart(cursors[row], [&](int64_t first, int64_t length) {
      parts.row.push_back(row);
      parts.first.push_back(first);
      parts.length.push_back(length);
    });
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
