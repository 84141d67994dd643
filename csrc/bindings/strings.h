// Python's strings as UTF-8.
#pragma once

#include <pybind11/pybind11.h>

#include <string_view>

namespace codemix {

// The string's UTF-8, alive as long as the string is. Raises where it is no str or has a lone
// surrogate.
inline std::string_view ViewOf(pybind11::handle text) {
  if (!PyUnicode_Check(text.ptr())) throw pybind11::type_error("a str is needed");
  Py_ssize_t size;
  const char* const bytes = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (bytes == nullptr) throw pybind11::error_already_set();
  return {bytes, static_cast<size_t>(size)};
}

}  // namespace codemix
