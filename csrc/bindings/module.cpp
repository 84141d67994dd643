// What Python sees of csrc/: megatron_codemix._C. This folder is the only one that knows Python.
//
// Arguments are never converted: a wrong dtype is a TypeError, a wrong shape or value a ValueError.
// The arguments' meaning is documented in megatron_codemix/ops, which checks them first.
#include "bindings/module.h"

PYBIND11_MODULE(_C, module) {
  module.doc() = "The data engine's hot loops in C++; call them through megatron_codemix.ops";
  codemix::BindBatch(module);
  codemix::BindGather(module);
  codemix::BindIndices(module);
  codemix::BindMixture(module);
  codemix::BindOrder(module);
  codemix::BindPacking(module);
  codemix::BindPreparation(module);
  codemix::BindShards(module);
  codemix::BindText(module);
  codemix::BindNgrams(module);
}
