// Where each sample starts in the shuffled documents (GPTDataset's sample_index).
#pragma once

#include <cstdint>

#include "common/span.h"

namespace codemix {

// How documents, joined into one stream, are cut into samples.
struct SampleLayout {
  int64_t num_tokens;       // in all documents of the document index, all epochs
  int32_t sequence_length;  // samples start this many tokens apart
  bool drop_last;           // leave out the sample that the stream's end cuts short
  bool extra_token;         // a sample has one token more than sequence_length, for the labels
};

int64_t CountSamples(const SampleLayout& layout);

// Row s is (position in document_index, offset in that document) of sample s's first token; the
// last row is where the sample after the last would start. sample_index has
// 2 * (CountSamples(layout) + 1) entries.
template <typename Document, typename Index>
void BuildSampleIndex(Span<const int32_t> document_lengths, Span<const Document> document_index,
                      const SampleLayout& layout, Span<Index> sample_index);

}  // namespace codemix
