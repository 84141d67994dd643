#include "megatron/document_index.h"

#include "common/check.h"

namespace codemix {

template <typename Index>
void BuildDocumentIndex(Index first, int64_t num_epochs, bool separate_final_epoch,
                        MersenneTwister& rng, Span<Index> document_index) {
  CHECK(num_epochs >= 1, "num_epochs is ", num_epochs, ", less than 1");
  const int64_t num_documents = document_index.size() / num_epochs;
  CHECK(document_index.size() == num_epochs * num_documents, "the document index has ",
        document_index.size(), " entries, no multiple of ", num_epochs);
  for (int64_t epoch = 0; epoch < num_epochs; ++epoch) {
    const Span<Index> copy = document_index.subspan(epoch * num_documents, num_documents);
    // Not std::iota: it counts one past the last, which the type may not hold.
    for (int64_t n = 0; n < num_documents; ++n) copy[n] = static_cast<Index>(first + n);
  }
  ShuffleEpochs(document_index, num_epochs, separate_final_epoch, rng);
}

template void BuildDocumentIndex(int32_t, int64_t, bool, MersenneTwister&, Span<int32_t>);
template void BuildDocumentIndex(int64_t, int64_t, bool, MersenneTwister&, Span<int64_t>);

}  // namespace codemix
