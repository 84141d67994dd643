// numpy arrays as spans: no conversion, no copy, one dimension unless said otherwise.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>

#include "common/check.h"
#include "common/span.h"

namespace codemix {

namespace py = pybind11;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

template <typename T>
void CheckFlat(const Array<T>& array, const char* name) {
  CHECK(array.ndim() == 1, name, " has ", array.ndim(), " dimensions, not 1");
  CHECK(reinterpret_cast<uintptr_t>(array.data()) % alignof(T) == 0, name, " is not aligned");
}

template <typename T>
Span<const T> View(const Array<T>& array, const char* name) {
  CheckFlat(array, name);
  return {array.data(), array.size()};
}

template <typename T>
Span<T> MutableView(Array<T>& array, const char* name) {
  CheckFlat(array, name);
  return {array.mutable_data(), array.size()};
}

// Of two dimensions.
template <typename T>
Matrix<T> MutableMatrix(Array<T>& array, const char* name) {
  CHECK(array.ndim() == 2, name, " has ", array.ndim(), " dimensions, not 2");
  T* const data = array.mutable_data();
  CHECK(reinterpret_cast<uintptr_t>(data) % alignof(T) == 0, name, " is not aligned");
  return {data, array.shape(0), array.shape(1)};
}

}  // namespace codemix
