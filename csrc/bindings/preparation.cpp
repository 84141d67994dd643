// Preparation of shards for Python.
#include <cstdint>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "pack_tokens.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

template <typename Token>
int64_t PackTokenArrays(const Array<uint32_t>& tokens, const Array<int64_t>& borders, int64_t end,
                        int64_t vocabulary_size, Array<Token> packed, Array<int32_t> lengths) {
  const Span<const uint32_t> input = View(tokens, "tokens");
  const Span<const int64_t> limits = View(borders, "borders");
  const Span<Token> output = MutableView(packed, "packed");
  const Span<int32_t> sizes = MutableView(lengths, "lengths");
  py::gil_scoped_release unlocked;
  return PackTokens<Token>(input, limits, end, vocabulary_size, output, sizes);
}

// Whether every character is marked in `is_known`; those past its end are not.
template <typename Character>
bool IsKnown(Span<const Character> text, Span<const uint8_t> is_known) {
  for (const Character character : text) {
    if (static_cast<int64_t>(character) >= is_known.size() || !is_known[character]) return false;
  }
  return true;
}

bool IsKnownText(PyObject* text, Span<const uint8_t> is_known) {
  if (PyUnicode_IS_ASCII(text)) return true;
  const int64_t size = PyUnicode_GET_LENGTH(text);
  switch (PyUnicode_KIND(text)) {
    case PyUnicode_1BYTE_KIND:
      return IsKnown(Span<const Py_UCS1>(PyUnicode_1BYTE_DATA(text), size), is_known);
    case PyUnicode_2BYTE_KIND:
      return IsKnown(Span<const Py_UCS2>(PyUnicode_2BYTE_DATA(text), size), is_known);
    default:
      return IsKnown(Span<const Py_UCS4>(PyUnicode_4BYTE_DATA(text), size), is_known);
  }
}

// Reads Python's strings where they are, so it keeps the GIL.
Array<bool> AreKnownTexts(const py::list& texts, const Array<uint8_t>& is_known) {
  const Span<const uint8_t> table = View(is_known, "is_known");
  Array<bool> answers(static_cast<py::ssize_t>(texts.size()));
  bool* answer = answers.mutable_data();
  for (const py::handle text : texts) {
    if (!PyUnicode_Check(text.ptr())) throw py::type_error("texts are not all strings");
    *answer++ = IsKnownText(text.ptr(), table);
  }
  return answers;
}

}  // namespace

void BindPreparation(py::module_& module) {
  module.def("pack_tokens", &PackTokenArrays<uint16_t>, py::arg("tokens").noconvert(),
             py::arg("borders").noconvert(), "end"_a, "vocabulary_size"_a,
             py::arg("packed").noconvert(), py::arg("lengths").noconvert());
  module.def("pack_tokens", &PackTokenArrays<int32_t>, py::arg("tokens").noconvert(),
             py::arg("borders").noconvert(), "end"_a, "vocabulary_size"_a,
             py::arg("packed").noconvert(), py::arg("lengths").noconvert());
  module.def("are_known_texts", &AreKnownTexts, "texts"_a, py::arg("is_known").noconvert());
}

}  // namespace codemix
