// The endless order of the windows of one token stream: epoch after epoch, each cut at another
// place and read in another order, and nothing held in memory for it.
//
// The stream is seen as a circle of num_tokens tokens. Epoch e starts at a keyed offset, and from
// there holds (num_tokens - 1) / sequence_length windows that start sequence_length tokens apart
// and are one token longer (the last label); a KeyedPermutation says in which order they are read.
// The epoch's offset and its permutation's key are the first two draws of SplitMix64, seeded with
// word e of the SplitMix64 that the order's key seeds.
//
// Part of a run's identity: the data order follows from it, so it never changes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "common/span.h"
#include "order/keyed_permutation.h"

namespace codemix {

// Where windows lie, in pieces: a window over the end of the stream is two.
struct WindowParts {
  std::vector<int64_t> row;    // which of the asked windows, ascending
  std::vector<int64_t> first;  // first token
  std::vector<int64_t> length;
};

class WindowOrder {
 public:
  // Needs sequence_length >= 1 and sequence_length < num_tokens <= 2^62.
  WindowOrder(int64_t num_tokens, int64_t sequence_length, uint64_t key);

  int64_t windows_per_epoch() const { return windows_per_epoch_; }

  // A cursor is the number of a window over all epochs. Raises on a negative one. Thread-safe.
  WindowParts Parts(Span<const int64_t> cursors) const;

  // Finds windows one by one; those of an epoch are quickest one after another.
  class Lookup;

  // The cursor of the window of `epoch` that reads `token` as an input, if one does. Thread-safe.
  std::optional<int64_t> CursorOf(int64_t epoch, int64_t token) const;

 private:
  struct Epoch {
    int64_t number;
    int64_t offset;
    KeyedPermutation permutation;
  };

  std::shared_ptr<const Epoch> EpochAt(int64_t number) const;

  int64_t num_tokens_;
  int64_t sequence_length_;
  int64_t windows_per_epoch_;
  uint64_t key_;
  // A batch that crosses the border of two epochs reads both; the table of a small one costs up to
  // 0.2 ms to make.
  mutable std::array<std::shared_ptr<const Epoch>, 2> latest_;
  mutable std::mutex mutex_;
};

class WindowOrder::Lookup {
 public:
  explicit Lookup(const WindowOrder& order) : order_(&order) {}

  // add(first token, tokens) for each piece of the window of `cursor`. Raises on a negative one.
  template <typename Add>
  void ForEachPart(int64_t cursor, const Add& add) {
    const int64_t first = First(cursor);
    const int64_t length = order_->sequence_length_ + 1;
    const int64_t before_the_end = order_->num_tokens_ - first;
    if (before_the_end >= length) {
      add(first, length);
    } else {
      add(first, before_the_end);
      add(int64_t{0}, length - before_the_end);
    }
  }

 private:
  int64_t First(int64_t cursor);

  const WindowOrder* order_;
  std::shared_ptr<const Epoch> epoch_;  // of the last window
};

}  // namespace codemix
