// Mixture orders for Python.
#include <cstdint>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "earliest_deadline_order.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

py::tuple BuildEarliestDeadlineOrderArrays(const Array<int64_t>& weights, Array<int64_t> counts,
                                           int64_t num_samples) {
  CHECK(num_samples >= 0, "num_samples is ", num_samples);
  const Span<const int64_t> input = View(weights, "weights");
  const Span<int64_t> state = MutableView(counts, "counts");
  Array<int16_t> order(num_samples);
  Array<int64_t> draws(num_samples);
  const Span<int16_t> sources = MutableView(order, "order");
  const Span<int64_t> numbers = MutableView(draws, "draws");
  {
    py::gil_scoped_release unlocked;
    BuildEarliestDeadlineOrder(input, state, sources, numbers);
  }
  return py::make_tuple(order, draws);
}

}  // namespace

void BindMixture(py::module_& module) {
  module.def("build_earliest_deadline_order", &BuildEarliestDeadlineOrderArrays,
             py::arg("weights").noconvert(), py::arg("counts").noconvert(), "num_samples"_a);
}

}  // namespace codemix
