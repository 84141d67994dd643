// megatron-core's indices for Python.
#include <cstdint>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "megatron/blending_index.h"
#include "megatron/document_and_sample_index.h"
#include "megatron/document_index.h"
#include "megatron/mersenne_twister.h"
#include "megatron/sample_index.h"
#include "megatron/shuffle_index.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

// Runs `build(rng)` without the GIL, from RandomState's `key` and `position`; `key` is brought up
// to date in place and the new position returned.
template <typename Build>
int WithGenerator(Array<uint32_t>& key, int position, const Build& build) {
  const Span<uint32_t> words = MutableView(key, "key");
  py::gil_scoped_release unlocked;
  MersenneTwister rng({words.data(), words.size()}, position);
  build(rng);
  rng.CopyKeyTo(words);
  return rng.position();
}

template <typename Index>
py::tuple BuildDocumentIndexArray(int64_t first, int64_t num_documents, int64_t num_epochs,
                                  bool separate_final_epoch, Array<uint32_t>& key, int position) {
  Array<Index> result(num_epochs * num_documents);
  const Span<Index> output = MutableView(result, "result");
  const int end = WithGenerator(key, position, [&](MersenneTwister& rng) {
    BuildDocumentIndex(static_cast<Index>(first), num_epochs, separate_final_epoch, rng, output);
  });
  return py::make_tuple(result, end);
}

// megatron-core's documents are int32; past that it would wrap around.
py::tuple BuildDocumentIndexOfFittingType(int64_t first, int64_t num_documents, int64_t num_epochs,
                                          bool separate_final_epoch, Array<uint32_t> key,
                                          int position) {
  CHECK(first >= 0 && num_documents >= 0 && num_documents <= INT64_MAX - first, "documents ", first,
        " to ", first, " + ", num_documents);
  CHECK(num_epochs >= 1 && (num_documents == 0 || num_epochs <= INT64_MAX / 8 / num_documents),
        "num_epochs is ", num_epochs);
  if (first + num_documents - 1 <= INT32_MAX) {
    return BuildDocumentIndexArray<int32_t>(first, num_documents, num_epochs, separate_final_epoch,
                                            key, position);
  }
  return BuildDocumentIndexArray<int64_t>(first, num_documents, num_epochs, separate_final_epoch,
                                          key, position);
}

template <typename Document, typename Index>
Array<Index> BuildSampleIndexArray(const Array<int32_t>& document_lengths,
                                   const Array<Document>& document_index, int64_t num_tokens,
                                   int32_t sequence_length, bool drop_last, bool extra_token) {
  const SampleLayout layout{num_tokens, sequence_length, drop_last, extra_token};
  const Span<const int32_t> lengths = View(document_lengths, "document_lengths");
  const Span<const Document> documents = View(document_index, "document_index");
  const int64_t num_rows = CountSamples(layout) + 1;
  Array<Index> result({py::ssize_t{num_rows}, py::ssize_t{2}});
  const Span<Index> output{result.mutable_data(), 2 * num_rows};
  {
    py::gil_scoped_release unlocked;
    BuildSampleIndex(lengths, documents, layout, output);
  }
  return result;
}

// A document index of int64 has a sample index of int64; one of int32 does while positions in it
// and offsets fit.
py::array BuildSampleIndexForInt32(const Array<int32_t>& document_lengths,
                                   const Array<int32_t>& document_index, int64_t num_tokens,
                                   int32_t sequence_length, bool drop_last, bool extra_token) {
  if (document_index.size() <= INT32_MAX) {
    return BuildSampleIndexArray<int32_t, int32_t>(document_lengths, document_index, num_tokens,
                                                   sequence_length, drop_last, extra_token);
  }
  return BuildSampleIndexArray<int32_t, int64_t>(document_lengths, document_index, num_tokens,
                                                 sequence_length, drop_last, extra_token);
}

py::tuple BuildDocumentAndSampleIndexArrays(const Array<int32_t>& document_lengths,
                                            int64_t num_epochs, bool separate_final_epoch,
                                            Array<uint32_t> key, int position, int64_t num_tokens,
                                            int32_t sequence_length, bool drop_last,
                                            bool extra_token) {
  const SampleLayout layout{num_tokens, sequence_length, drop_last, extra_token};
  const Span<const int32_t> lengths = View(document_lengths, "document_lengths");
  CHECK(num_epochs >= 1 && (lengths.size() == 0 || num_epochs <= INT32_MAX / lengths.size()),
        "num_epochs is ", num_epochs, " for ", lengths.size(), " documents");
  Array<int32_t> document_index(num_epochs * lengths.size());
  const int64_t num_rows = CountSamples(layout) + 1;
  Array<int32_t> sample_index({py::ssize_t{num_rows}, py::ssize_t{2}});
  const Span<int32_t> documents = MutableView(document_index, "document_index");
  const Span<int32_t> rows{sample_index.mutable_data(), 2 * num_rows};
  const int end = WithGenerator(key, position, [&](MersenneTwister& rng) {
    BuildDocumentAndSampleIndex(lengths, num_epochs, separate_final_epoch, layout, rng, documents,
                                rows);
  });
  return py::make_tuple(py::make_tuple(document_index, sample_index), end);
}

template <typename Index>
py::tuple BuildShuffleIndexArray(int64_t num_samples, int64_t size, Array<uint32_t>& key,
                                 int position) {
  Array<Index> result(size);
  const Span<Index> output = MutableView(result, "result");
  const int end = WithGenerator(
      key, position, [&](MersenneTwister& rng) { BuildShuffleIndex(num_samples, rng, output); });
  return py::make_tuple(result, end);
}

py::tuple BuildShuffleIndexOfFittingType(int64_t num_samples, int64_t size, Array<uint32_t> key,
                                         int position) {
  CHECK(size >= 0, "size is ", size);
  // megatron-core's rule, one short of what uint32 holds.
  if (size < int64_t{UINT32_MAX} - 1) {
    return BuildShuffleIndexArray<uint32_t>(num_samples, size, key, position);
  }
  return BuildShuffleIndexArray<int64_t>(num_samples, size, key, position);
}

py::tuple BuildBlendingIndexArrays(const Array<double>& weights, int64_t size) {
  CHECK(size >= 0, "size is ", size);
  const Span<const double> input = View(weights, "weights");
  Array<int16_t> dataset_index(size);
  Array<int64_t> dataset_sample_index(size);
  const Span<int16_t> datasets = MutableView(dataset_index, "dataset_index");
  const Span<int64_t> samples = MutableView(dataset_sample_index, "dataset_sample_index");
  {
    py::gil_scoped_release unlocked;
    BuildBlendingIndex(input, datasets, samples);
  }
  return py::make_tuple(dataset_index, dataset_sample_index);
}

}  // namespace

void BindIndices(py::module_& module) {
  const auto document_lengths = py::arg("document_lengths").noconvert();
  const auto document_index = py::arg("document_index").noconvert();
  const auto key = py::arg("key").noconvert();
  const auto weights = py::arg("weights").noconvert();

  module.def("build_document_index", &BuildDocumentIndexOfFittingType, "first"_a, "num_documents"_a,
             "num_epochs"_a, "separate_final_epoch"_a, key, "position"_a);
  module.def("build_sample_index", &BuildSampleIndexForInt32, document_lengths, document_index,
             "num_tokens"_a, "sequence_length"_a, "drop_last"_a, "extra_token"_a);
  module.def("build_sample_index", &BuildSampleIndexArray<int64_t, int64_t>, document_lengths,
             document_index, "num_tokens"_a, "sequence_length"_a, "drop_last"_a, "extra_token"_a);
  module.def("build_document_and_sample_index", &BuildDocumentAndSampleIndexArrays,
             document_lengths, "num_epochs"_a, "separate_final_epoch"_a, key, "position"_a,
             "num_tokens"_a, "sequence_length"_a, "drop_last"_a, "extra_token"_a);
  module.def("build_shuffle_index", &BuildShuffleIndexOfFittingType, "num_samples"_a, "size"_a, key,
             "position"_a);
  module.def("build_blending_index", &BuildBlendingIndexArrays, weights, "size"_a);
}

}  // namespace codemix
