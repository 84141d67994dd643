// Statistics of texts for Python.
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "text/character_table.h"
#include "text/private_marks.h"
#include "text/text_classifier.h"
#include "text/text_repetition.h"
#include "text/text_statistics.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

// The string's UTF-8, alive as long as the string is. Raises UnicodeEncodeError on a surrogate.
std::string_view TextOf(const py::str& text) {
  Py_ssize_t size;
  const char* const bytes = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (bytes == nullptr) throw py::error_already_set();
  return {bytes, static_cast<size_t>(size)};
}

std::unique_ptr<CharacterTable> MakeClasses(const Array<uint8_t>& classes) {
  return std::make_unique<CharacterTable>(View(classes, "classes"));
}

py::tuple LinesOf(const py::str& text, const CharacterTable& classes) {
  const std::string_view view = TextOf(text);
  LineStatistics s;
  {
    py::gil_scoped_release unlocked;
    s = CountLines(view, classes);
  }
  return py::make_tuple(s.num_characters, s.num_lines, s.line_characters, s.longest_line,
                        s.num_alphabetic, s.num_alphanumeric);
}

py::tuple WordsOf(const py::str& text, const CharacterTable& classes,
                  const std::vector<std::string>& common_words) {
  const std::string_view view = TextOf(text);
  WordStatistics s;
  {
    py::gil_scoped_release unlocked;
    s = CountWords(view, classes, common_words);
  }
  return py::make_tuple(s.num_characters, s.num_words, s.longest_word, s.num_spoken_words,
                        s.spoken_characters, s.num_alphabetic_words, s.num_hashes, s.num_ellipses,
                        s.num_lines, s.num_bullet_lines, s.num_ellipsis_lines, s.num_sentences,
                        s.num_distinct_common);
}

template <size_t N>
py::tuple TupleOf(const std::array<int64_t, N>& numbers) {
  py::tuple result(N);
  for (size_t i = 0; i < N; ++i) result[i] = numbers[i];
  return result;
}

py::tuple RepetitionOf(const py::str& text, const CharacterTable& classes) {
  const std::string_view view = TextOf(text);
  RepetitionStatistics s;
  {
    py::gil_scoped_release unlocked;
    s = CountRepetition(view, classes);
  }
  return py::make_tuple(s.num_characters, s.num_lines, s.num_duplicate_lines,
                        s.duplicate_line_characters, s.num_paragraphs, s.num_duplicate_paragraphs,
                        s.duplicate_paragraph_characters, TupleOf(s.top_ngram_characters),
                        TupleOf(s.duplicate_ngram_characters));
}

py::list MarksOf(const MarkFinder& finder, const py::str& text) {
  const std::string_view view = TextOf(text);
  std::vector<Mark> marks;
  {
    py::gil_scoped_release unlocked;
    marks = finder.Find(view);
  }
  py::list result;
  for (const Mark& mark : marks) {
    result.append(
        py::make_tuple(static_cast<int32_t>(mark.kind), mark.literal, mark.begin, mark.end));
  }
  return result;
}

std::unique_ptr<TextClassifier> MakeClassifier(const py::bytes& file) {
  return std::make_unique<TextClassifier>(std::string_view(file));
}

py::object LabelOf(const TextClassifier& classifier, const py::str& text) {
  const std::string_view view = TextOf(text);
  Label label;
  {
    py::gil_scoped_release unlocked;
    label = classifier.Classify(view);
  }
  if (label.number < 0) return py::none();
  return py::make_tuple(classifier.labels()[label.number], label.probability);
}

}  // namespace

void BindText(py::module_& module) {
  py::class_<CharacterTable>(module, "CharacterTable")
      .def(py::init(&MakeClasses), py::arg("classes").noconvert());
  py::class_<TextClassifier>(module, "TextClassifier")
      .def(py::init(&MakeClassifier), "file"_a)
      .def_property_readonly("labels", &TextClassifier::labels)
      .def("classify", &LabelOf, "text"_a);
  module.def("count_lines", &LinesOf, "text"_a, "classes"_a);
  module.def("count_words", &WordsOf, "text"_a, "classes"_a, "common_words"_a);
  module.def("count_repetition", &RepetitionOf, "text"_a, "classes"_a);
  py::class_<MarkFinder>(module, "MarkFinder")
      .def(py::init<std::vector<std::string>>(), "literals"_a)
      .def("find", &MarksOf, "text"_a);
}

}  // namespace codemix
