#include "megatron/sample_index.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/check.h"

namespace codemix {

int64_t CountSamples(const SampleLayout& layout) {
  CHECK(layout.sequence_length >= 1, "sequence_length is ", layout.sequence_length,
        ", less than 1");
  CHECK(layout.num_tokens >= 1, "num_tokens is ", layout.num_tokens, ", less than 1");
  const int64_t num_starts = layout.num_tokens - (layout.extra_token ? 1 : 0);
  if (layout.drop_last) return num_starts / layout.sequence_length;
  // megatron-core counts in 32-bit floats here. Past 2^24 tokens this can be a sample more or less
  // than the exact quotient; being bit-identical means doing the same.
  return static_cast<int64_t>(
      std::ceil(static_cast<float>(num_starts) / static_cast<float>(layout.sequence_length)));
}

namespace {

// Asks for a length that is read soon; `document` has not been checked yet. Into L2, to which a
// core has more requests on the way than to L1.
void Prefetch(const int32_t* lengths, int64_t document) {
  const uintptr_t address =
      reinterpret_cast<uintptr_t>(lengths) + sizeof(int32_t) * static_cast<uintptr_t>(document);
  __builtin_prefetch(reinterpret_cast<const void*>(address), /*rw=*/0, /*locality=*/2);
}

}  // namespace

template <typename Document, typename Index>
void BuildSampleIndex(Span<const int32_t> document_lengths, Span<const Document> document_index,
                      const SampleLayout& layout, Span<Index> sample_index) {
  const int64_t num_samples = CountSamples(layout);
  const int64_t num_documents = document_index.size();
  CHECK(sample_index.size() == 2 * (num_samples + 1), "the sample index has ", sample_index.size(),
        " entries, not 2 x ", num_samples + 1);
  CHECK(num_documents >= 1, "the document index is empty");

  const int64_t extra = layout.extra_token ? 1 : 0;
  sample_index[0] = 0;
  sample_index[1] = 0;
  int64_t sample = 1;
  // Sample number `sample` starts in the document that holds the last token of the sample before
  // it: the first document whose end, in tokens from the start, reaches `reach`.
  int64_t reach = layout.sequence_length + extra;
  int64_t document_start = 0;

  // Documents are shuffled, so that lengths lie on random cache lines: ask for them a while ahead.
  constexpr int64_t kBlock = 512;
  constexpr int64_t kAhead = 128;
  const int64_t last = num_documents - 1;
  std::array<int32_t, kBlock> lengths;
  for (int64_t block = 0; block < num_documents && sample <= num_samples; block += kBlock) {
    const int64_t count = std::min(kBlock, num_documents - block);
    for (int64_t n = 0; n < count; ++n) {
      Prefetch(document_lengths.data(), document_index[std::min(block + n + kAhead, last)]);
      const int64_t document = document_index[block + n];
      CHECK(0 <= document && document < document_lengths.size(), "document ", document,
            " is outside [0, ", document_lengths.size(), ")");
      lengths[n] = document_lengths[document];
      CHECK(lengths[n] >= 0, "document ", document, " has length ", lengths[n]);
    }
    for (int64_t n = 0; n < count; ++n) {
      const int64_t document_end = document_start + lengths[n];
      for (; reach <= document_end && sample <= num_samples; ++sample) {
        sample_index[2 * sample] = static_cast<Index>(block + n);
        sample_index[2 * sample + 1] = static_cast<Index>(reach - extra - document_start);
        reach += layout.sequence_length;
      }
      document_start = document_end;
    }
  }
  if (sample > num_samples) return;

  CHECK(!layout.drop_last, "the documents hold ", document_start, " tokens, not ",
        layout.num_tokens);
  const int64_t last_length = document_lengths[document_index[num_documents - 1]];
  CHECK(last_length >= extra, "the last document in order is empty");
  for (; sample <= num_samples; ++sample) {
    sample_index[2 * sample] = static_cast<Index>(num_documents - 1);
    sample_index[2 * sample + 1] = static_cast<Index>(last_length - extra);
  }
}

template void BuildSampleIndex(Span<const int32_t>, Span<const int32_t>, const SampleLayout&,
                               Span<int32_t>);
template void BuildSampleIndex(Span<const int32_t>, Span<const int32_t>, const SampleLayout&,
                               Span<int64_t>);
template void BuildSampleIndex(Span<const int32_t>, Span<const int64_t>, const SampleLayout&,
                               Span<int64_t>);

}  // namespace codemix
