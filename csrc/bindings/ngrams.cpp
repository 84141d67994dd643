// Texts for Python: their words, hashes of n-grams and MinHash signatures.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/strings.h"
#include "text/minhash.h"
#include "text/ngram_index.h"
#include "text/word_ngrams.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

WordCharacters MakeWordCharacters(const Array<uint32_t>& lower_case) {
  return WordCharacters(View(lower_case, "lower_case"));
}

py::str JoinWords(const WordCharacters& characters, const py::str& text) {
  Words words(characters);
  words.Read(ViewOf(text));
  const std::string_view joined = words.Joined();
  return py::str(joined.data(), joined.size());
}

Array<int64_t> FindWordsIn(const WordCharacters& characters, const py::str& text) {
  const std::vector<int64_t> places = FindWords(ViewOf(text), characters);
  Array<int64_t> pairs({static_cast<py::ssize_t>(places.size() / 2), py::ssize_t{2}});
  std::copy(places.begin(), places.end(), pairs.mutable_data());
  return pairs;
}

Array<uint64_t> HashNgramsOf(const WordCharacters& characters, const py::str& text, int64_t n) {
  CHECK(n >= 1, "n is ", n);
  const std::string_view view = ViewOf(text);
  Words words(characters);
  {
    py::gil_scoped_release unlocked;
    words.Read(view);
  }
  Array<uint64_t> hashes(words.NumNgrams(n));
  words.HashNgrams(n, MutableView(hashes, "hashes"));
  return hashes;
}

Array<uint64_t> HashGatesOf(const WordCharacters& characters, const py::str& text, int64_t n) {
  CHECK(n >= 1, "n is ", n);
  Words words(characters);
  words.Read(ViewOf(text));
  Array<uint64_t> hashes(words.NumNgrams(n));
  words.HashNgramsByRolling(n, MutableView(hashes, "hashes"));
  return hashes;
}

MinHash MakeMinHash(const Array<uint64_t>& multipliers, const Array<uint64_t>& summands,
                    int instructions) {
  return MinHash(View(multipliers, "multipliers"), View(summands, "summands"),
                 static_cast<Instructions>(instructions));
}

Array<uint64_t> SignShingles(const MinHash& hash, const Array<uint64_t>& shingles) {
  Array<uint64_t> minima(hash.num_hashes());
  hash.Sign(View(shingles, "shingles"), MutableView(minima, "minima"));
  return minima;
}

// The signatures of texts, row by row, and the number of shingles of each.
py::tuple SignTexts(const MinHash& hash, const WordCharacters& characters, const py::list& texts,
                    int64_t n) {
  CHECK(n >= 1, "n is ", n);
  std::vector<std::string_view> views;
  views.reserve(texts.size());
  for (const py::handle text : texts) views.push_back(ViewOf(text));
  const auto count = static_cast<py::ssize_t>(texts.size());
  Array<uint64_t> signatures({count, static_cast<py::ssize_t>(hash.num_hashes())});
  Array<int64_t> num_shingles(count);
  uint64_t* const rows = signatures.mutable_data();
  const Span<int64_t> numbers = MutableView(num_shingles, "num_shingles");
  {
    py::gil_scoped_release unlocked;
    Words words(characters);
    std::vector<uint64_t> shingles;
    for (py::ssize_t i = 0; i < count; ++i) {
      words.Read(views[i]);
      numbers[i] = words.NumNgrams(n);
      shingles.resize(numbers[i]);
      words.HashNgrams(n, {shingles.data(), numbers[i]});
      hash.Sign({shingles.data(), numbers[i]}, {rows + i * hash.num_hashes(), hash.num_hashes()});
    }
  }
  return py::make_tuple(signatures, num_shingles);
}

NgramIndex MakeNgramIndex(const Array<int32_t>& lengths, const Array<uint64_t>& hashes,
                          const Array<int32_t>& gate_lengths, const Array<uint64_t>& gates) {
  return NgramIndex(View(lengths, "lengths"), View(hashes, "hashes"),
                    View(gate_lengths, "gate_lengths"), View(gates, "gates"));
}

// First word and number of each n-gram that stands in the text: two numbers a match.
Array<int64_t> FindNgrams(const NgramIndex& index, const WordCharacters& characters,
                          const py::str& text) {
  const std::string_view view = ViewOf(text);
  std::vector<NgramIndex::Match> matches;
  {
    py::gil_scoped_release unlocked;
    Words words(characters);
    words.Read(view);
    matches = index.Find(words);
  }
  Array<int64_t> pairs({static_cast<py::ssize_t>(matches.size()), py::ssize_t{2}});
  int64_t* at = pairs.mutable_data();
  for (const NgramIndex::Match& match : matches) {
    *at++ = match.first_word;
    *at++ = match.entry;
  }
  return pairs;
}

}  // namespace

void BindNgrams(py::module_& module) {
  py::class_<WordCharacters>(module, "WordCharacters")
      .def(py::init(&MakeWordCharacters), py::arg("lower_case").noconvert())
      .def("join_words", &JoinWords, "text"_a)
      .def("find_words", &FindWordsIn, "text"_a)
      .def("hash_ngrams", &HashNgramsOf, "text"_a, "n"_a)
      .def("hash_gates", &HashGatesOf, "text"_a, "n"_a);
  py::class_<NgramIndex>(module, "NgramIndex")
      .def(py::init(&MakeNgramIndex), py::arg("lengths").noconvert(), py::arg("hashes").noconvert(),
           py::arg("gate_lengths").noconvert(), py::arg("gates").noconvert())
      .def("find", &FindNgrams, "characters"_a, "text"_a);
  module.def("is_available",
             [](int instructions) { return IsAvailable(static_cast<Instructions>(instructions)); });
  py::class_<MinHash>(module, "MinHash")
      .def(py::init(&MakeMinHash), py::arg("multipliers").noconvert(),
           py::arg("summands").noconvert(), "instructions"_a)
      .def("sign_shingles", &SignShingles, py::arg("shingles").noconvert())
      .def("sign_texts", &SignTexts, "characters"_a, "texts"_a, "n"_a);
}

}  // namespace codemix
