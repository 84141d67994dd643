// Mixture orders for Python.
#include <cstdint>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "mixture/earliest_deadline_order.h"
#include "mixture/period_table.h"
#include "mixture/split_tree.h"

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

Array<int64_t> CountEarliestDeadlineDrawsArray(const Array<int64_t>& weights, int64_t num_samples) {
  const Span<const int64_t> input = View(weights, "weights");
  Array<int64_t> counts(input.size());
  const Span<int64_t> result = MutableView(counts, "counts");
  {
    py::gil_scoped_release unlocked;
    CountEarliestDeadlineDraws(input, num_samples, result);
  }
  return counts;
}

py::tuple LocateInPeriodArrays(const Array<int16_t>& order, const Array<int32_t>& draws,
                               const Array<int64_t>& draws_per_period,
                               const Array<int64_t>& samples) {
  const PeriodTable table{View(order, "order"), View(draws, "draws"),
                          View(draws_per_period, "draws_per_period")};
  const Span<const int64_t> asked = View(samples, "samples");
  Array<int16_t> sources(asked.size());
  Array<int64_t> numbers(asked.size());
  const Span<int16_t> found_sources = MutableView(sources, "sources");
  const Span<int64_t> found_numbers = MutableView(numbers, "numbers");
  {
    py::gil_scoped_release unlocked;
    LocateInPeriod(table, asked, found_sources, found_numbers);
  }
  return py::make_tuple(sources, numbers);
}

SplitTree MakeSplitTree(const Array<int64_t>& units, int log2_spacing,
                        const Array<int32_t>& children) {
  CHECK(units.ndim() == 2, "units has ", units.ndim(), " dimensions, not 2");
  CHECK(children.ndim() == 2 && children.shape(1) == 2, "children is not [inner nodes, 2]");
  return SplitTree({units.data(), units.size()}, units.shape(1), log2_spacing,
                   {children.data(), children.size()});
}

py::tuple LocateInTree(const SplitTree& tree, const Array<int64_t>& samples) {
  const Span<const int64_t> asked = View(samples, "samples");
  Array<int16_t> sources(asked.size());
  Array<int64_t> draws(asked.size());
  const Span<int16_t> found_sources = MutableView(sources, "sources");
  const Span<int64_t> found_draws = MutableView(draws, "draws");
  {
    py::gil_scoped_release unlocked;
    tree.Locate(asked, found_sources, found_draws);
  }
  return py::make_tuple(sources, draws);
}

Array<int64_t> CountsInTree(const SplitTree& tree, int64_t num_samples) {
  Array<int64_t> counts(tree.num_sources());
  tree.Counts(num_samples, MutableView(counts, "counts"));
  return counts;
}

}  // namespace

void BindMixture(py::module_& module) {
  module.def("build_earliest_deadline_order", &BuildEarliestDeadlineOrderArrays,
             py::arg("weights").noconvert(), py::arg("counts").noconvert(), "num_samples"_a);
  module.def("count_earliest_deadline_draws", &CountEarliestDeadlineDrawsArray,
             py::arg("weights").noconvert(), "num_samples"_a);
  module.def("locate_in_period", &LocateInPeriodArrays, py::arg("order").noconvert(),
             py::arg("draws").noconvert(), py::arg("draws_per_period").noconvert(),
             py::arg("samples").noconvert());
  py::class_<SplitTree>(module, "SplitTree")
      .def(py::init(&MakeSplitTree), py::arg("units").noconvert(), "log2_spacing"_a,
           py::arg("children").noconvert())
      .def("locate", &LocateInTree, py::arg("samples").noconvert())
      .def("counts", &CountsInTree, "num_samples"_a);
}

}  // namespace codemix
