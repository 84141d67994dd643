// The batch reader for Python.
#include <cstdint>
#include <memory>
#include <vector>

#include "batch/batch_reader.h"
#include "bindings/arrays.h"
#include "bindings/bound_gather.h"
#include "bindings/module.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

std::vector<WindowSource> ViewSources(const py::list& sources) {
  std::vector<WindowSource> views;
  for (const py::handle& source : sources) {
    const auto fields = py::cast<py::tuple>(source);
    CHECK(fields.size() == 6, "a source has ", fields.size(), " fields, not 6");
    if (!py::isinstance<Array<bool>>(fields[4])) throw py::type_error("is_checked is not of bools");
    views.push_back({fields[0].cast<int16_t>(), fields[1].cast<const WindowOrder*>(),
                     fields[2].cast<int64_t>(), fields[3].cast<int64_t>(),
                     View(py::reinterpret_borrow<Array<bool>>(fields[4]), "is_checked"),
                     fields[5].cast<int>()});
  }
  return views;
}

// A BatchReader that keeps alive what it reads.
class BoundBatchReader {
 public:
  BoundBatchReader(const py::object& gather, SegmentDraws draws, const py::object& kept,
                   int64_t first_sample, int64_t stop_sample, py::list sources)
      : kept_(py::make_tuple(gather, kept, sources)),
        reader_(gather.cast<BoundTokenGather&>().gather(), draws, first_sample, stop_sample,
                ViewSources(sources)) {}

  bool Read(const Array<int64_t>& samples, Array<int64_t> tokens, Array<int64_t> labels,
            Array<int16_t> source_ids) const {
    const Span<const int64_t> asked = View(samples, "samples");
    const Matrix<int64_t> inputs = MutableMatrix(tokens, "tokens");
    const Matrix<int64_t> targets = MutableMatrix(labels, "labels");
    const Span<int16_t> sources = MutableView(source_ids, "source_ids");
    const py::gil_scoped_release unlocked;
    return reader_.Read(asked, inputs, targets, sources);
  }

 private:
  py::tuple kept_;
  BatchReader reader_;
};

std::unique_ptr<BoundBatchReader> ReadPeriod(const py::object& gather, const Array<int16_t>& order,
                                             const Array<int32_t>& draws,
                                             const Array<int64_t>& draws_per_period,
                                             const Array<bool>& is_known, int block_shift,
                                             int64_t first_sample, int64_t stop_sample,
                                             const py::list& sources) {
  const PeriodTable table{View(order, "order"), View(draws, "draws"),
                          View(draws_per_period, "draws_per_period")};
  return std::make_unique<BoundBatchReader>(
      gather, KnownPeriod{table, View(is_known, "is_known"), block_shift},
      py::make_tuple(order, draws, draws_per_period, is_known), first_sample, stop_sample, sources);
}

std::unique_ptr<BoundBatchReader> ReadTree(const py::object& gather, const py::object& tree,
                                           int64_t first_sample, int64_t stop_sample,
                                           const py::list& sources) {
  return std::make_unique<BoundBatchReader>(gather, tree.cast<const SplitTree*>(), tree,
                                            first_sample, stop_sample, sources);
}

}  // namespace

void BindBatch(py::module_& module) {
  py::class_<BoundBatchReader>(module, "BatchReader")
      .def_static("of_period", &ReadPeriod, "gather"_a, py::arg("order").noconvert(),
                  py::arg("draws").noconvert(), py::arg("draws_per_period").noconvert(),
                  py::arg("is_known").noconvert(), "block_shift"_a, "first_sample"_a,
                  "stop_sample"_a, "sources"_a)
      .def_static("of_tree", &ReadTree, "gather"_a, "tree"_a, "first_sample"_a, "stop_sample"_a,
                  "sources"_a)
      .def("read", &BoundBatchReader::Read, py::arg("samples").noconvert(),
           py::arg("tokens").noconvert(), py::arg("labels").noconvert(),
           py::arg("source_ids").noconvert());
}

}  // namespace codemix
