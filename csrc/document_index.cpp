#include "document_index.h"

#include <algorithm>

#include "check.h"

namespace codemix {

template <typename Index>
void BuildDocumentIndex(Span<const Index> documents, int64_t num_epochs, bool separate_final_epoch,
                        MersenneTwister& rng, Span<Index> document_index) {
  CHECK(num_epochs >= 1, "num_epochs is ", num_epochs, ", less than 1");
  CHECK(document_index.size() == num_epochs * documents.size(), "the document index has ",
        document_index.size(), " entries, not ", num_epochs, " x ", documents.size());
  for (int64_t epoch = 0; epoch < num_epochs; ++epoch) {
    std::copy(documents.begin(), documents.end(), document_index.data() + epoch * documents.size());
  }
  const bool separate = separate_final_epoch && num_epochs > 1;
  const int64_t num_together = (separate ? num_epochs - 1 : num_epochs) * documents.size();
  Shuffle(document_index.subspan(0, num_together), rng);
  Shuffle(document_index.subspan(num_together, document_index.size() - num_together), rng);
}

template void BuildDocumentIndex(Span<const int32_t>, int64_t, bool, MersenneTwister&,
                                 Span<int32_t>);
template void BuildDocumentIndex(Span<const int64_t>, int64_t, bool, MersenneTwister&,
                                 Span<int64_t>);

}  // namespace codemix
