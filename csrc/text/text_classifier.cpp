#include "text/text_classifier.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace codemix {
namespace {

constexpr int32_t kMagic = 793712314;
constexpr int32_t kVersion = 12;
constexpr int32_t kHierarchicalSoftmax = 1;
constexpr int32_t kSupervised = 3;
constexpr std::string_view kEndOfLine = "</s>";
constexpr std::string_view kLabelPrefix = "__label__";
constexpr int64_t kNumCentroids = 256;
constexpr int32_t kMostBuckets = 1 << 26;
constexpr size_t kMostLabels = 1 << 10;  // all trees over them are shallow enough to descend
constexpr int32_t kLongestPart = 64;
constexpr int64_t kMostTokens = int64_t{1} << 40;  // of a label, below Node::count

constexpr uint32_t kHashStart = 2166136261u;  // Fowler, Noll and Vo's

uint32_t HashStep(uint32_t hash, char byte) {
  // A byte above 127 counts as negative: so it was where the models were trained.
  return (hash ^ static_cast<uint32_t>(static_cast<int8_t>(byte))) * 16777619u;
}

bool IsSpace(char byte) {
  return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t' || byte == '\v' ||
         byte == '\f' || byte == '\0';
}

bool IsNoAscii(char byte) { return static_cast<uint8_t>(byte) >= 0x80; }

bool GoesOn(char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; }

float LogOf(float probability) { return std::log(probability + 1e-5f); }

}  // namespace

// Reads numbers and texts off the file.
class TextClassifier::Reader {
 public:
  explicit Reader(std::string_view file) : left_(file) {}

  template <typename T>
  T Read() {
    T value;
    std::memcpy(&value, Take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  template <typename T>
  std::vector<T> ReadMany(int64_t count) {
    CHECK(count >= 0 && count <= static_cast<int64_t>(left_.size() / sizeof(T)),
          "the model file is cut off or damaged");
    std::vector<T> values(count);
    if (count > 0) {
      std::memcpy(values.data(), Take(count * sizeof(T)).data(), count * sizeof(T));
    }
    return values;
  }

  std::string ReadText() {
    const size_t end = left_.find('\0');
    CHECK(end != left_.npos, "the model file is cut off or damaged");
    std::string text(left_.substr(0, end));
    left_.remove_prefix(end + 1);
    return text;
  }

 private:
  std::string_view Take(size_t size) {
    CHECK(size <= left_.size(), "the model file is cut off or damaged");
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }

  std::string_view left_;
};

TextClassifier::TextClassifier(std::string_view file) {
  Reader reader(file);
  CHECK(reader.Read<int32_t>() == kMagic, "not a fastText model");
  const auto version = reader.Read<int32_t>();
  CHECK(version == kVersion, "a fastText model of version ", version, ", not ", kVersion);
  // dim ws epoch minCount neg wordNgrams loss model bucket minn maxn lrUpdateRate
  const auto numbers = reader.ReadMany<int32_t>(12);
  reader.Read<double>();  // t
  CHECK(numbers[0] == kDimensions && numbers[5] == 1 && numbers[6] == kHierarchicalSoftmax &&
            numbers[7] == kSupervised && numbers[8] > 0 && numbers[8] <= kMostBuckets &&
            numbers[9] > 0 && numbers[10] >= numbers[9] && numbers[10] <= kLongestPart,
        "a fastText model of another kind: ", numbers[0], " dimensions, ", numbers[5],
        " words together, loss ", numbers[6], ", model ", numbers[7]);
  num_buckets_ = numbers[8];
  bucket_factor_ = ~uint64_t{0} / num_buckets_ + 1;
  shortest_part_ = numbers[9];
  longest_part_ = numbers[10];
  ReadDictionary(&reader);
  ReadInput(&reader);
  ReadOutput(&reader);
  for (size_t word = 0; word < words_.size(); ++word) {
    word_bags_.push_back(BagOfKnown(static_cast<int32_t>(word)));
  }
}

void TextClassifier::ReadDictionary(Reader* reader) {
  const auto sizes = reader->ReadMany<int32_t>(3);  // entries, words, labels
  reader->Read<int64_t>();                          // tokens
  const auto num_kept = reader->Read<int64_t>();
  CHECK(num_kept >= 0 && num_kept < int64_t{1} << 24,
        "a fastText model whose parts of words are not chosen");
  std::vector<int64_t> label_counts;
  for (int32_t entry = 0; entry < sizes[0]; ++entry) {
    std::string text = reader->ReadText();
    const auto count = reader->Read<int64_t>();
    if (reader->Read<int8_t>() == 0) {
      words_.push_back(std::move(text));
    } else {
      CHECK(
          text.substr(0, kLabelPrefix.size()) == kLabelPrefix && count >= 0 && count < kMostTokens,
          "the model file is damaged: label ", text);
      labels_.push_back(text.substr(kLabelPrefix.size()));
      label_counts.push_back(count);
    }
  }
  CHECK(static_cast<int32_t>(words_.size()) == sizes[1] && labels_.size() >= 2 &&
            labels_.size() <= kMostLabels,
        "the model file is damaged: ", words_.size(), " words, ", labels_.size(), " labels");
  size_t slots = 16;
  while (slots < 4 * words_.size()) slots *= 2;
  word_slots_.assign(slots, -1);
  for (size_t word = 0; word < words_.size(); ++word) {
    word_slots_[WordSlot(words_[word])] = static_cast<int32_t>(word);
  }
  std::vector<std::pair<uint32_t, int32_t>> parts(num_kept);
  groups_.resize(num_buckets_ / 64 + 1);
  for (auto& [bucket, row] : parts) {
    bucket = static_cast<uint32_t>(reader->Read<int32_t>());
    row = 1 + sizes[1] + reader->Read<int32_t>();
    CHECK(bucket < num_buckets_, "the model file is damaged: part ", bucket);
    groups_[bucket / 64].has_row |= uint64_t{1} << bucket % 64;
  }
  uint32_t num_before = 0;
  for (Group& group : groups_) {
    group.num_before = num_before;
    num_before += __builtin_popcountll(group.has_row);
  }
  std::sort(parts.begin(), parts.end());
  for (const auto& [bucket, row] : parts) part_rows_.push_back(row);
  CHECK(num_before == parts.size(), "the model file is damaged: a part stands there twice");
  BuildTree(label_counts);
}

void TextClassifier::ReadInput(Reader* reader) {
  CHECK(reader->Read<bool>(), "a fastText model whose rows are not quantised");
  const auto has_norms = reader->Read<bool>();
  const auto num_rows = reader->Read<int64_t>();
  const auto num_columns = reader->Read<int64_t>();
  const auto codes = reader->ReadMany<uint8_t>(reader->Read<int32_t>());
  // dimensions, parts of a row, dimensions of a part, of the last part
  const auto parts = reader->ReadMany<int32_t>(4);
  const auto centroids = reader->ReadMany<float>(parts[0] * kNumCentroids);
  CHECK(num_columns == kDimensions && parts[0] == kDimensions && parts[2] == parts[3] &&
            parts[2] > 0 && int64_t{parts[1]} * parts[2] == kDimensions && num_rows >= 0 &&
            num_rows <= static_cast<int64_t>(codes.size()) &&
            static_cast<int64_t>(codes.size()) == num_rows * parts[1],
        "a fastText model quantised in another way");
  std::vector<uint8_t> norm_codes(num_rows, 0);
  std::vector<float> norms(1, 1.0f);
  if (has_norms) {
    norm_codes = reader->ReadMany<uint8_t>(num_rows);
    CHECK(reader->ReadMany<int32_t>(4)[0] == 1, "a fastText model with norms of another kind");
    norms = reader->ReadMany<float>(kNumCentroids);
  }
  input_.resize(num_rows + 1);
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int i = 0; i < kDimensions; ++i) {
      const int part = i / parts[2];
      const int64_t centroid = part * kNumCentroids + codes[row * parts[1] + part];
      input_[row + 1][i] = norms[norm_codes[row]] * centroids[centroid * parts[2] + i % parts[2]];
    }
  }
  for (const int32_t row : part_rows_) {
    CHECK(row > 0 && row <= num_rows, "the model file is damaged: row ", row);
  }
  CHECK(static_cast<int64_t>(words_.size()) <= num_rows, "the model file is damaged");
}

void TextClassifier::ReadOutput(Reader* reader) {
  CHECK(!reader->Read<bool>(), "a fastText model whose output is quantised");
  const auto num_rows = reader->Read<int64_t>();
  const auto num_columns = reader->Read<int64_t>();
  CHECK(num_columns == kDimensions && num_rows == static_cast<int64_t>(labels_.size()),
        "the model file is damaged: output of ", num_rows, " by ", num_columns);
  const auto numbers = reader->ReadMany<float>(num_rows * num_columns);
  output_.resize(num_rows);
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int i = 0; i < kDimensions; ++i) output_[row][i] = numbers[row * kDimensions + i];
  }
}

// Huffman's, over labels whose counts descend.
void TextClassifier::BuildTree(const std::vector<int64_t>& counts) {
  const auto num_labels = static_cast<int32_t>(counts.size());
  tree_.resize(2 * num_labels - 1);
  for (int32_t label = 0; label < num_labels; ++label) tree_[label].count = counts[label];
  int32_t leaf = num_labels - 1;
  int32_t inner = num_labels;
  const auto take_rarest = [&] {
    return leaf >= 0 && tree_[leaf].count < tree_[inner].count ? leaf-- : inner++;
  };
  for (int32_t node = num_labels; node < 2 * num_labels - 1; ++node) {
    const int32_t left = take_rarest();
    const int32_t right = take_rarest();
    tree_[node] = {left, right, tree_[left].count + tree_[right].count};
  }
}

void TextClassifier::Bag::Add(const Row& row) {
  for (int i = 0; i < kDimensions; ++i) sum[i] += row[i];
}

// hash % num_buckets_, by two products (Lemire et al. 2019, arXiv 1902.01961).
inline uint32_t TextClassifier::BucketOf(uint32_t hash) const {
  const uint64_t fraction = bucket_factor_ * hash;
  return static_cast<uint32_t>(static_cast<unsigned __int128>(fraction) * num_buckets_ >> 64);
}

// Of a part of a word; four in five have no row.
inline void TextClassifier::AddPart(uint32_t hash, Bag* bag) const {
  const uint32_t bucket = BucketOf(hash);
  if (groups_[bucket / 64].has_row >> bucket % 64 & 1) AddRowOf(bucket, bag);
}

void TextClassifier::AddRowOf(uint32_t bucket, Bag* bag) const {
  const Group& group = groups_[bucket / 64];
  const uint64_t before = group.has_row & ((uint64_t{1} << bucket % 64) - 1);
  bag->Add(input_[part_rows_[group.num_before + __builtin_popcountll(before)]]);
  ++bag->count;
}

void TextClassifier::AddParts(std::string_view bracketed, Bag* bag) const {
  const bool is_ascii = std::none_of(bracketed.begin(), bracketed.end(), IsNoAscii);
  if (is_ascii && shortest_part_ == 2) {
    AddAsciiParts(bracketed, bag);
  } else {
    AddAnyParts(bracketed, bag);
  }
}

// The common case: every character is a byte, and none of them a part by itself.
void TextClassifier::AddAsciiParts(std::string_view bracketed, Bag* bag) const {
  for (size_t begin = 0; begin + 1 < bracketed.size(); ++begin) {
    uint32_t hash = HashStep(kHashStart, bracketed[begin]);
    const size_t last = std::min(begin + longest_part_, bracketed.size());
    for (size_t end = begin + 1; end < last; ++end) {
      hash = HashStep(hash, bracketed[end]);
      AddPart(hash, bag);
    }
  }
}

void TextClassifier::AddAnyParts(std::string_view bracketed, Bag* bag) const {
  for (size_t begin = 0; begin < bracketed.size(); ++begin) {
    if (GoesOn(bracketed[begin])) continue;
    uint32_t hash = kHashStart;
    size_t end = begin;
    for (int32_t length = 1; length <= longest_part_ && end < bracketed.size(); ++length) {
      do {
        hash = HashStep(hash, bracketed[end++]);
      } while (end < bracketed.size() && GoesOn(bracketed[end]));
      const bool is_bracket = length == 1 && (begin == 0 || end == bracketed.size());
      if (length >= shortest_part_ && !is_bracket) AddPart(hash, bag);
    }
  }
}

// Where the word is, or would be.
size_t TextClassifier::WordSlot(std::string_view word) const {
  uint32_t hash = kHashStart;
  for (const char byte : word) hash = HashStep(hash, byte);
  const size_t mask = word_slots_.size() - 1;
  size_t at = hash & mask;
  while (word_slots_[at] >= 0 && words_[word_slots_[at]] != word) at = (at + 1) & mask;
  return at;
}

TextClassifier::Bag TextClassifier::BagOfKnown(int32_t word) const {
  Bag bag;
  bag.Add(input_[word + 1]);
  bag.count = 1;
  const std::string& text = words_[word];
  if (text != kEndOfLine) AddParts("<" + text + ">", &bag);
  return bag;
}

void TextClassifier::AddWord(std::string_view word, Bag* bag) const {
  const int32_t known = word_slots_[WordSlot(word)];
  if (known >= 0) {
    bag->Add(word_bags_[known].sum);
    bag->count += word_bags_[known].count;
    return;
  }
  if (word == kEndOfLine || word.substr(0, kLabelPrefix.size()) == kLabelPrefix) return;
  std::array<char, 64> few;  // most words are short, and need no memory from elsewhere
  std::string many;
  char* bracketed = few.data();
  if (word.size() + 2 > few.size()) {
    many.resize(word.size() + 2);
    bracketed = many.data();
  }
  bracketed[0] = '<';
  std::memcpy(bracketed + 1, word.data(), word.size());
  bracketed[word.size() + 1] = '>';
  AddParts({bracketed, word.size() + 2}, bag);
}

void TextClassifier::Descend(int32_t node, float score, const Row& hidden, Label* best,
                             float* best_score) const {
  if (best->number >= 0 && score < *best_score) return;
  const Node& here = tree_[node];
  if (here.left < 0) {
    *best = {node, std::exp(score)};
    *best_score = score;
    return;
  }
  const Row& row = output_[node - static_cast<int32_t>(labels_.size())];
  float product = 0;
  for (int i = 0; i < kDimensions; ++i) product += row[i] * hidden[i];
  const float right = 1.0f / (1.0f + std::exp(-product));
  Descend(here.left, score + LogOf(1.0f - right), hidden, best, best_score);
  Descend(here.right, score + LogOf(right), hidden, best, best_score);
}

Label TextClassifier::Classify(std::string_view text) const {
  Bag bag;
  size_t begin = 0;
  while (begin < text.size()) {
    if (IsSpace(text[begin])) {
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < text.size() && !IsSpace(text[end])) ++end;
    const std::string_view word = text.substr(begin, end - begin);
    if (word == kEndOfLine) break;
    AddWord(word, &bag);
    begin = end;
  }
  AddWord(kEndOfLine, &bag);
  Label best;
  if (bag.count == 0) return best;
  for (float& number : bag.sum) number /= static_cast<float>(bag.count);
  float best_score = 0;
  Descend(static_cast<int32_t>(tree_.size()) - 1, 0.0f, bag.sum, &best, &best_score);
  return best;
}

}  // namespace codemix
