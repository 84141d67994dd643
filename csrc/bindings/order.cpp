// Keyed orders for Python.
#include <pybind11/stl.h>

#include <cstdint>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "order/keyed_permutation.h"
#include "order/window_order.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

using Mapping = void (*)(const KeyedPermutation&, Span<const int64_t>, Span<int64_t>);

template <Mapping map>
Array<int64_t> MapByPermutation(const Array<int64_t>& numbers, int64_t size, uint64_t key) {
  const Span<const int64_t> input = View(numbers, "numbers");
  Array<int64_t> result(input.size());
  const Span<int64_t> output = MutableView(result, "result");
  {
    py::gil_scoped_release unlocked;
    map(KeyedPermutation(size, key), input, output);
  }
  return result;
}

Array<int64_t> AsArray(const std::vector<int64_t>& numbers) {
  return Array<int64_t>(numbers.size(), numbers.data());
}

py::tuple PartsOfWindows(const WindowOrder& order, const Array<int64_t>& cursors) {
  const Span<const int64_t> input = View(cursors, "cursors");
  WindowParts parts;
  {
    py::gil_scoped_release unlocked;
    parts = order.Parts(input);
  }
  return py::make_tuple(AsArray(parts.row), AsArray(parts.first), AsArray(parts.length));
}

}  // namespace

void BindOrder(py::module_& module) {
  module.def("permute", &MapByPermutation<Permute>, py::arg("positions").noconvert(), "size"_a,
             "key"_a);
  module.def("invert_permutation", &MapByPermutation<InvertPermutation>,
             py::arg("values").noconvert(), "size"_a, "key"_a);
  py::class_<WindowOrder>(module, "WindowOrder")
      .def(py::init<int64_t, int64_t, uint64_t>(), "num_tokens"_a, "sequence_length"_a, "key"_a)
      .def_property_readonly("windows_per_epoch", &WindowOrder::windows_per_epoch)
      .def("parts", &PartsOfWindows, py::arg("cursors").noconvert())
      .def("cursor_of", &WindowOrder::CursorOf, "epoch"_a, "token"_a,
           py::call_guard<py::gil_scoped_release>());
}

}  // namespace codemix
