// The token gather for Python.
#include <cstdint>
#include <utility>
#include <vector>

#include "batch/document_positions.h"
#include "batch/token_gather.h"
#include "bindings/arrays.h"
#include "bindings/bound_gather.h"
#include "bindings/module.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

template <typename Token>
TokenArray ViewTokens(const Array<Token>& array) {
  const Span<const Token> tokens = View(array, "tokens");
  return {tokens.data(), tokens.size(), sizeof(Token)};
}

TokenArray ViewTokensOfEitherType(const py::handle& array) {
  if (py::isinstance<Array<uint16_t>>(array)) {
    return ViewTokens(py::reinterpret_borrow<Array<uint16_t>>(array));
  }
  if (py::isinstance<Array<int32_t>>(array)) {
    return ViewTokens(py::reinterpret_borrow<Array<int32_t>>(array));
  }
  throw py::type_error("token arrays must be contiguous numpy arrays of uint16 or int32");
}

std::vector<TokenArray> ViewAllTokens(const py::list& arrays) {
  std::vector<TokenArray> views;
  for (const py::handle& array : arrays) views.push_back(ViewTokensOfEitherType(array));
  return views;
}

RowParts ViewParts(const Array<int16_t>& source, const Array<int64_t>& row,
                   const Array<int64_t>& first, const Array<int64_t>& length) {
  return {View(source, "source"), View(row, "row"), View(first, "first"), View(length, "length")};
}

}  // namespace

BoundTokenGather::BoundTokenGather(py::list arrays, int num_threads)
    : arrays_(std::move(arrays)), gather_(ViewAllTokens(arrays_), num_threads) {}

Array<int64_t> BoundTokenGather::TokensAndLabels(const Array<int16_t>& source,
                                                 const Array<int64_t>& row,
                                                 const Array<int64_t>& first,
                                                 const Array<int64_t>& length, int64_t fill,
                                                 Array<int64_t> tokens, Array<int64_t> labels) {
  const RowParts parts = ViewParts(source, row, first, length);
  const Matrix<int64_t> inputs = MutableMatrix(tokens, "tokens");
  const Matrix<int64_t> targets = MutableMatrix(labels, "labels");
  Array<int64_t> counts(inputs.rows);
  const Span<int64_t> counted = MutableView(counts, "counts");
  {
    py::gil_scoped_release unlocked;
    gather_.TokensAndLabels(parts, fill, inputs, targets, counted);
  }
  return counts;
}

template <typename Token>
Array<int64_t> BoundTokenGather::Windows(const Array<int16_t>& source, const Array<int64_t>& row,
                                         const Array<int64_t>& first, const Array<int64_t>& length,
                                         Token fill, Array<Token> rows) {
  const RowParts parts = ViewParts(source, row, first, length);
  const Matrix<Token> output = MutableMatrix(rows, "rows");
  Array<int64_t> counts(output.rows);
  const Span<int64_t> counted = MutableView(counts, "counts");
  {
    py::gil_scoped_release unlocked;
    gather_.Windows(parts, fill, output, counted);
  }
  return counts;
}

namespace {

std::vector<DocumentLengths> ViewDocumentLengths(const py::list& shards) {
  std::vector<DocumentLengths> views;
  for (const py::handle& shard : shards) {
    // Not View: in an .idx file the lengths start at byte 34, so they are not aligned.
    if (!py::isinstance<Array<int32_t>>(shard)) {
      throw py::type_error("document lengths must be contiguous numpy arrays of int32");
    }
    const auto lengths = py::reinterpret_borrow<py::array>(shard);
    CHECK(lengths.ndim() == 1, "document lengths have ", lengths.ndim(), " dimensions, not 1");
    views.push_back({lengths.data(), lengths.size()});
  }
  return views;
}

void FillDocumentPositionArrays(const py::list& document_lengths, const Array<int16_t>& source,
                                const Array<int64_t>& row, const Array<int64_t>& length,
                                const Array<int64_t>& document, const Array<int64_t>& offset,
                                Array<int64_t> document_ids, Array<int64_t> position_ids) {
  const std::vector<DocumentLengths> shards = ViewDocumentLengths(document_lengths);
  const LocatedParts parts{View(source, "source"), View(row, "row"), View(length, "length"),
                           View(document, "document"), View(offset, "offset")};
  const Matrix<int64_t> documents = MutableMatrix(document_ids, "document_ids");
  const Matrix<int64_t> positions = MutableMatrix(position_ids, "position_ids");
  py::gil_scoped_release unlocked;
  FillDocumentPositions(shards, parts, documents, positions);
}

}  // namespace

void BindGather(py::module_& module) {
  const auto source = py::arg("source").noconvert();
  const auto row = py::arg("row").noconvert();
  const auto first = py::arg("first").noconvert();
  const auto length = py::arg("length").noconvert();
  const auto rows = py::arg("rows").noconvert();

  py::class_<BoundTokenGather>(module, "TokenGather")
      .def(py::init<py::list, int>(), "arrays"_a, "num_threads"_a)
      .def("tokens_and_labels", &BoundTokenGather::TokensAndLabels, source, row, first, length,
           "fill"_a, py::arg("tokens").noconvert(), py::arg("labels").noconvert())
      .def("windows", &BoundTokenGather::Windows<uint16_t>, source, row, first, length, "fill"_a,
           rows)
      .def("windows", &BoundTokenGather::Windows<int32_t>, source, row, first, length, "fill"_a,
           rows);
  module.def("fill_document_positions", &FillDocumentPositionArrays, "document_lengths"_a, source,
             row, length, py::arg("document").noconvert(), py::arg("offset").noconvert(),
             py::arg("document_ids").noconvert(), py::arg("position_ids").noconvert());
}

}  // namespace codemix
