// Token shards for Python.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "batch/unchecked_blocks.h"
#include "bindings/arrays.h"
#include "bindings/module.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

Array<int64_t> FindUncheckedBlocksArray(const Array<int64_t>& first, const Array<int64_t>& length,
                                        int block_shift, int64_t num_items,
                                        const Array<bool>& is_checked) {
  const Span<const int64_t> firsts = View(first, "first");
  const Span<const int64_t> lengths = View(length, "length");
  const Span<const bool> checked = View(is_checked, "is_checked");
  std::vector<int64_t> found;
  {
    py::gil_scoped_release unlocked;
    found = FindUncheckedBlocks(firsts, lengths, block_shift, num_items, checked);
  }
  Array<int64_t> result(static_cast<py::ssize_t>(found.size()));
  std::copy(found.begin(), found.end(), result.mutable_data());
  return result;
}

}  // namespace

void BindShards(py::module_& module) {
  module.def("find_unchecked_blocks", &FindUncheckedBlocksArray, py::arg("first").noconvert(),
             py::arg("length").noconvert(), "block_shift"_a, "num_items"_a,
             py::arg("is_checked").noconvert());
}

}  // namespace codemix
