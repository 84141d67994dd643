// Preparation of shards for Python: the byte-level BPE encoder.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/module.h"
#include "bindings/strings.h"
#include "bpe/bpe_encoder.h"

namespace codemix {

using namespace pybind11::literals;

namespace {

BpeVocabulary MakeVocabulary(const py::dict& vocabulary, const py::list& merges,
                             bool keeps_known_words) {
  std::vector<std::pair<std::string_view, uint32_t>> tokens;
  tokens.reserve(vocabulary.size());
  for (const auto& [entry, id] : vocabulary)
    tokens.emplace_back(ViewOf(entry), id.cast<uint32_t>());
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  pairs.reserve(merges.size());
  for (const py::handle merge : merges) {
    const auto pair = py::reinterpret_borrow<py::sequence>(merge);
    CHECK(PySequence_Check(merge.ptr()) && pair.size() == 2, "a merge is no pair");
    pairs.emplace_back(ViewOf(pair[0]), ViewOf(pair[1]));
  }
  return BpeVocabulary(tokens, pairs, keeps_known_words);
}

AddedTokens MakeAddedTokens(const py::list& given) {
  std::vector<AddedToken> tokens;
  for (const py::handle entry : given) {
    const auto [content, id, role] = entry.cast<std::tuple<std::string, uint32_t, int>>();
    CHECK(role >= 0 && role <= static_cast<int>(AddedToken::Role::kRefused), "role is ", role);
    tokens.push_back({content, id, static_cast<AddedToken::Role>(role)});
  }
  return AddedTokens(std::move(tokens));
}

template <typename Token>
std::unique_ptr<BpeEncoder<Token>> MakeEncoder(const py::dict& vocabulary, const py::list& merges,
                                               bool keeps_known_words, bool is_gpt4,
                                               int numbers_at_once, bool isolates_digits,
                                               const py::list& early_tokens,
                                               const py::list& late_tokens) {
  return std::make_unique<BpeEncoder<Token>>(MakeVocabulary(vocabulary, merges, keeps_known_words),
                                             WordPattern{is_gpt4, numbers_at_once, isolates_digits},
                                             MakeAddedTokens(early_tokens),
                                             MakeAddedTokens(late_tokens));
}

template <typename Token>
void SetClasses(BpeEncoder<Token>& encoder, const Array<uint32_t>& codes,
                const Array<uint8_t>& classes) {
  const Span<const uint32_t> numbers = View(codes, "codes");
  const Span<const uint8_t> kinds = View(classes, "classes");
  CHECK(numbers.size() == kinds.size(), kinds.size(), " classes for ", numbers.size(), " codes");
  for (int64_t i = 0; i < numbers.size(); ++i) {
    CHECK(kinds[i] <= static_cast<uint8_t>(CharClass::kRefused), "class is ", int{kinds[i]});
    encoder.SetClass(numbers[i], static_cast<CharClass>(kinds[i]));
  }
}

template <typename Token>
py::tuple Encode(BpeEncoder<Token>& encoder, const py::list& texts, int64_t end) {
  std::vector<std::string_view> views;
  views.reserve(texts.size());
  for (const py::handle text : texts) views.push_back(ViewOf(text));
  Array<int32_t> lengths(static_cast<py::ssize_t>(texts.size()));
  const Span<int32_t> counts = MutableView(lengths, "lengths");
  Span<const Token> tokens(nullptr, 0);
  {
    py::gil_scoped_release unlocked;
    tokens = encoder.Encode({views.data(), static_cast<int64_t>(views.size())}, end, counts);
  }
  Array<Token> copy(tokens.size());
  std::copy(tokens.begin(), tokens.end(), copy.mutable_data());
  return py::make_tuple(copy, lengths);
}

template <typename Token>
void BindEncoder(py::module_& module, const char* name) {
  py::class_<BpeEncoder<Token>>(module, name)
      .def(py::init(&MakeEncoder<Token>), "vocabulary"_a, "merges"_a, "keeps_known_words"_a,
           "is_gpt4"_a, "numbers_at_once"_a, "isolates_digits"_a, "early_tokens"_a, "late_tokens"_a)
      .def("set_classes", &SetClasses<Token>, py::arg("codes").noconvert(),
           py::arg("classes").noconvert())
      .def("encode", &Encode<Token>, "texts"_a, "end"_a);
}

}  // namespace

void BindPreparation(py::module_& module) {
  BindEncoder<uint16_t>(module, "BpeEncoderUint16");
  BindEncoder<int32_t>(module, "BpeEncoderInt32");
}

}  // namespace codemix
