// The parts of megatron_codemix._C, a function for each file of this folder.
#pragma once

#include <pybind11/pybind11.h>

namespace codemix {

void BindBatch(pybind11::module_& module);
void BindGather(pybind11::module_& module);
void BindIndices(pybind11::module_& module);
void BindMixture(pybind11::module_& module);
void BindOrder(pybind11::module_& module);
void BindPacking(pybind11::module_& module);
void BindPreparation(pybind11::module_& module);
void BindShards(pybind11::module_& module);
void BindText(pybind11::module_& module);
void BindNgrams(pybind11::module_& module);

}  // namespace codemix
