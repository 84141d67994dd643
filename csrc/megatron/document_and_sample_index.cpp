#include "megatron/document_and_sample_index.h"

#include <algorithm>

#include "common/check.h"
#include "common/released_array.h"
#include "megatron/document_index.h"

namespace codemix {
namespace {

// A document's number in the low half, its length in the high one: one move takes both.
using Document = uint64_t;

int32_t NumberOf(Document document) { return static_cast<int32_t>(document); }
uint64_t LengthOf(Document document) { return document >> 32; }

// Cuts documents, which come one after the other, into samples.
class SampleCutter {
 public:
  SampleCutter(const SampleLayout& layout, Span<int32_t> sample_index)
      : extra_(layout.extra_token ? 1 : 0),
        sequence_length_(static_cast<uint64_t>(layout.sequence_length)),
        rows_(sample_index),
        row_(rows_.data() + 2),
        left_(sequence_length_ + extra_ - 1) {
    rows_[0] = 0;
    rows_[1] = 0;
  }

  // Documents at `position`, `position` + 1, ... of the order.
  void Append(int64_t position, Span<const Document> documents) {
    // In registers: as members they would be stored at each step.
    int32_t* row = row_;
    uint64_t left = left_;
    for (int64_t n = 0; n < documents.size() && row != rows_.end(); ++n) {
      const uint64_t length = LengthOf(documents[n]);
      const auto write_row = [&](uint64_t offset) {
        row[0] = static_cast<int32_t>(position + n);
        row[1] = static_cast<int32_t>(offset);
      };
      // The row is written whether its sample starts here or not, without a branch: that could not
      // be predicted.
      write_row(left + 1 - extra_);
      left -= length;
      row += 2 * (left >> 63);
      left = std::min(left, left + sequence_length_);
      if (static_cast<int64_t>(left) >= 0) continue;
      // More than one sample starts here.
      left += sequence_length_;
      while (static_cast<int64_t>(left) < 0 && row != rows_.end()) {
        write_row(left + length + 1 - extra_);
        row += 2;
        left += sequence_length_;
      }
    }
    row_ = row;
    left_ = left;
  }

  // After all documents, the last of which is at `position`: rows that no document reaches.
  void Finish(int64_t position, uint64_t last_length, const SampleLayout& layout) {
    if (row_ == rows_.end()) return;
    const uint64_t num_tokens =
        static_cast<uint64_t>((row_ - rows_.data()) / 2) * sequence_length_ + extra_ - 1 - left_;
    CHECK(!layout.drop_last, "the documents hold ", num_tokens, " tokens, not ", layout.num_tokens);
    CHECK(last_length >= extra_, "the last document in order is empty");
    for (; row_ != rows_.end(); row_ += 2) {
      row_[0] = static_cast<int32_t>(position);
      row_[1] = static_cast<int32_t>(last_length - extra_);
    }
  }

 private:
  uint64_t extra_;
  uint64_t sequence_length_;
  Span<int32_t> rows_;
  int32_t* row_;  // of the next sample, which starts at the last token of the one before it
  // Tokens from the next document's start up to that token. Past it the difference wraps around.
  uint64_t left_;
};

void WriteEpoch(Span<const int32_t> lengths, Span<Document> documents) {
  int32_t all_bits = 0;
  for (int64_t n = 0; n < lengths.size(); ++n) {
    documents[n] = static_cast<uint64_t>(n) | static_cast<uint64_t>(lengths[n]) << 32;
    all_bits |= lengths[n];
  }
  if (all_bits >= 0) return;
  const auto* negative =
      std::find_if(lengths.begin(), lengths.end(), [](int32_t length) { return length < 0; });
  FailCheck("document ", negative - lengths.begin(), " has length ", *negative);
}

}  // namespace

void BuildDocumentAndSampleIndex(Span<const int32_t> document_lengths, int64_t num_epochs,
                                 bool separate_final_epoch, const SampleLayout& layout,
                                 MersenneTwister& rng, Span<int32_t> document_index,
                                 Span<int32_t> sample_index) {
  const int64_t num_documents = document_lengths.size();
  const int64_t size = document_index.size();
  CHECK(num_epochs >= 1, "num_epochs is ", num_epochs, ", less than 1");
  CHECK(size == num_epochs * num_documents && size <= INT32_MAX, "the document index has ", size,
        " entries for ", num_epochs, " epochs of ", num_documents, " documents");
  CHECK(size >= 1, "the document index is empty");
  const int64_t num_rows = CountSamples(layout) + 1;
  CHECK(sample_index.size() == 2 * num_rows, "the sample index has ", sample_index.size(),
        " entries, not 2 x ", num_rows);

  ReleasedArray<Document> array(size);
  const Span<Document> documents = array.items();
  for (int64_t epoch = 0; epoch < num_epochs; ++epoch) {
    WriteEpoch(document_lengths, documents.subspan(epoch * num_documents, num_documents));
  }
  ShuffleEpochs(documents, num_epochs, separate_final_epoch, rng);

  SampleCutter cutter(layout, sample_index);
  const uint64_t last_length = LengthOf(documents[size - 1]);
  constexpr int64_t kBlock = int64_t{1} << 12;
  constexpr int64_t kRelease = int64_t{1} << 19;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t count = std::min(kBlock, size - begin);
    for (int64_t n = begin; n < begin + count; ++n) document_index[n] = NumberOf(documents[n]);
    cutter.Append(begin, {documents.data() + begin, count});
    if (begin % kRelease == 0) array.ReleaseFirst(begin);
  }
  cutter.Finish(size - 1, last_length, layout);
}

}  // namespace codemix
