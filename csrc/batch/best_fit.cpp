#include "batch/best_fit.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace codemix {
namespace {

// A set of integers in [0, size) that finds the next one from a number on: bitmaps of 64, over
// bitmaps that say which of those hold any.
class OrderedSet {
 public:
  explicit OrderedSet(int64_t size) {
    do {
      size = (size + 63) / 64;
      levels_.emplace_back(size, 0);
    } while (size > 1);
  }

  void Insert(int64_t value) {
    for (auto& level : levels_) {
      level[value / 64] |= uint64_t{1} << (value % 64);
      value /= 64;
    }
  }

  void Erase(int64_t value) {
    for (auto& level : levels_) {
      level[value / 64] &= ~(uint64_t{1} << (value % 64));
      if (level[value / 64] != 0) return;
      value /= 64;
    }
  }

  // The smallest member >= value, or -1.
  int64_t FindFrom(int64_t value) const {
    for (size_t up = 0; up < levels_.size(); ++up) {
      if (value / 64 >= static_cast<int64_t>(levels_[up].size())) return -1;
      const uint64_t rest = levels_[up][value / 64] >> (value % 64);
      if (rest != 0) {
        value += __builtin_ctzll(rest);
        for (size_t down = up; down > 0; --down) {
          value = value * 64 + __builtin_ctzll(levels_[down - 1][value]);
        }
        return value;
      }
      value = value / 64 + 1;
    }
    return -1;
  }

 private:
  std::vector<std::vector<uint64_t>> levels_;
};

// The rows that were opened, and how much room is left in them.
class OpenRows {
 public:
  explicit OpenRows(int32_t row_length)
      : row_length_(row_length), rooms_(row_length), newest_(row_length, kNone) {}

  int64_t size() const { return static_cast<int64_t>(older_.size()); }

  // Puts a piece of `length` < row_length tokens where it fits best; returns the row.
  int64_t Place(int32_t length) {
    int64_t room = rooms_.FindFrom(length);
    int64_t row;
    if (room < 0) {
      row = size();
      room = row_length_;
      older_.push_back(kNone);
    } else {
      row = newest_[room];
      newest_[room] = older_[row];
      if (newest_[room] == kNone) rooms_.Erase(room);
    }
    room -= length;
    if (room > 0) {
      if (newest_[room] == kNone) rooms_.Insert(room);
      older_[row] = newest_[room];
      newest_[room] = row;
    }
    return row;
  }

 private:
  static constexpr int64_t kNone = -1;

  int32_t row_length_;
  OrderedSet rooms_;
  std::vector<int64_t> newest_;  // [room]: the row that got this room last
  std::vector<int64_t> older_;   // [row]: the row that got its room before it
};

// The documents that have a rest after their full rows, the longest rest first.
std::vector<int64_t> LongestRestFirst(Span<const int32_t> document_lengths, int32_t row_length) {
  std::vector<int64_t> place(row_length, 0);
  for (const int32_t length : document_lengths) ++place[length % row_length];
  int64_t num_rests = 0;
  for (int64_t rest = row_length - 1; rest > 0; --rest) {
    num_rests += std::exchange(place[rest], num_rests);
  }
  std::vector<int64_t> order(num_rests);
  for (int64_t document = 0; document < document_lengths.size(); ++document) {
    const int32_t rest = document_lengths[document] % row_length;
    if (rest > 0) order[place[rest]++] = document;
  }
  return order;
}

// Writes pieces into rows whose sizes are known.
class RowWriter {
 public:
  RowWriter(const std::vector<int64_t>& row_sizes, PackedRows& packed) : packed_(packed) {
    packed.row_start.reserve(row_sizes.size() + 1);
    packed.row_start.push_back(0);
    for (const int64_t size : row_sizes) {
      packed.row_start.push_back(packed.row_start.back() + size);
    }
    next_.assign(packed.row_start.begin(), packed.row_start.end() - 1);
    packed.document.resize(packed.row_start.back());
    packed.offset.resize(packed.row_start.back());
    packed.length.resize(packed.row_start.back());
  }

  void Add(int64_t row, int64_t document, int64_t offset, int32_t length) {
    const int64_t piece = next_[row]++;
    packed_.document[piece] = document;
    packed_.offset[piece] = offset;
    packed_.length[piece] = length;
  }

 private:
  PackedRows& packed_;
  std::vector<int64_t> next_;
};

}  // namespace

PackedRows PackBestFit(Span<const int32_t> document_lengths, int32_t row_length) {
  CHECK(row_length >= 1, "row_length is ", row_length, ", less than 1");
  const int64_t num_documents = document_lengths.size();
  int64_t num_full = 0;
  for (int64_t document = 0; document < num_documents; ++document) {
    const int32_t length = document_lengths[document];
    CHECK(length >= 0, "document ", document, " has length ", length);
    num_full += length / row_length;
  }

  OpenRows open(row_length);
  std::vector<int64_t> row_of(num_documents);  // of the rest
  for (const int64_t document : LongestRestFirst(document_lengths, row_length)) {
    row_of[document] = open.Place(document_lengths[document] % row_length);
  }
  std::vector<int64_t> row_sizes(open.size() + num_full, 1);
  std::fill_n(row_sizes.begin(), open.size(), 0);
  for (int64_t document = 0; document < num_documents; ++document) {
    if (document_lengths[document] % row_length > 0) ++row_sizes[row_of[document]];
  }

  PackedRows packed;
  RowWriter rows(row_sizes, packed);
  int64_t full_row = open.size();
  for (int64_t document = 0; document < num_documents; ++document) {
    const int32_t length = document_lengths[document];
    if (length < row_length) continue;
    int64_t offset = 0;
    for (; offset + row_length <= length; offset += row_length) {
      rows.Add(full_row++, document, offset, row_length);
    }
    if (offset < length) rows.Add(row_of[document], document, offset, length % row_length);
  }
  for (int64_t document = 0; document < num_documents; ++document) {
    const int32_t length = document_lengths[document];
    if (0 < length && length < row_length) rows.Add(row_of[document], document, 0, length);
  }
  return packed;
}

}  // namespace codemix
