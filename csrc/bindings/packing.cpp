// Packing for Python.
#include <cstdint>
#include <vector>

#include "batch/best_fit.h"
#include "bindings/arrays.h"
#include "bindings/module.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

// The vector's numbers without a copy: the array keeps the vector.
template <typename T>
Array<T> Keep(std::vector<T>&& numbers) {
  auto* kept = new std::vector<T>(std::move(numbers));
  const py::capsule owner(kept, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return Array<T>(kept->size(), kept->data(), owner);
}

py::tuple PackBestFitArrays(const Array<int32_t>& document_lengths, int32_t row_length) {
  const Span<const int32_t> lengths = View(document_lengths, "document_lengths");
  PackedRows packed;
  {
    py::gil_scoped_release unlocked;
    packed = PackBestFit(lengths, row_length);
  }
  return py::make_tuple(Keep(std::move(packed.row_start)), Keep(std::move(packed.document)),
                        Keep(std::move(packed.offset)), Keep(std::move(packed.length)));
}

}  // namespace

void BindPacking(py::module_& module) {
  module.def("pack_best_fit", &PackBestFitArrays, py::arg("document_lengths").noconvert(),
             "row_length"_a);
}

}  // namespace codemix
