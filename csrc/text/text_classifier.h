// Labels of texts by a quantised fastText model (Joulin et al. 2016, "Bag of Tricks for Efficient
// Text Classification", arXiv 1607.01759, and "FastText.zip", arXiv 1612.03651), such as lid.176,
// which knows 176 languages. Same labels and probabilities as fastText's own `predict`, in a
// tenth of its time: the rows of the input matrix, codes in the file, are kept as numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace codemix {

struct Label {
  int32_t number = -1;  // in TextClassifier::labels(); -1: the text has nothing to go by
  float probability = 0;
};

class TextClassifier {
 public:
  // file: the bytes of a .ftz. Raises where it is none, is cut off, or is a model of another kind:
  // what is known is a supervised one of 16 dimensions with quantised rows, hierarchical softmax,
  // parts of words and no n-grams of words.
  explicit TextClassifier(std::string_view file);

  const std::vector<std::string>& labels() const { return labels_; }

  // The most probable label of a text (valid UTF-8), as of one line: line breaks are white space.
  Label Classify(std::string_view text) const;

 private:
  static constexpr int kDimensions = 16;
  using Row = std::array<float, kDimensions>;

  // Sum of rows, and how many.
  struct Bag {
    Row sum = {};
    int64_t count = 0;

    void Add(const Row& row);
  };

  // Of the binary tree over the labels: the first nodes are the leaves.
  struct Node {
    int32_t left = -1;
    int32_t right = -1;
    int64_t count = int64_t{1000000000000000};
  };

  class Reader;
  void ReadDictionary(Reader* reader);
  void ReadInput(Reader* reader);
  void ReadOutput(Reader* reader);
  void BuildTree(const std::vector<int64_t>& counts);

  void AddWord(std::string_view word, Bag* bag) const;
  size_t WordSlot(std::string_view word) const;
  Bag BagOfKnown(int32_t word) const;
  uint32_t BucketOf(uint32_t hash) const;
  void AddParts(std::string_view bracketed, Bag* bag) const;
  void AddAsciiParts(std::string_view bracketed, Bag* bag) const;
  void AddAnyParts(std::string_view bracketed, Bag* bag) const;
  void AddPart(uint32_t hash, Bag* bag) const;
  void AddRowOf(uint32_t bucket, Bag* bag) const;
  void Descend(int32_t node, float score, const Row& hidden, Label* best, float* best_score) const;

  int32_t shortest_part_ = 0;
  int32_t longest_part_ = 0;
  uint32_t num_buckets_ = 0;
  uint64_t bucket_factor_ = 0;
  std::vector<std::string> labels_;
  std::vector<std::string> words_;
  std::vector<int32_t> word_slots_;  // word by its hash, open addressing; -1: free
  std::vector<Bag> word_bags_;       // of each word with its parts
  // Which buckets have a row, 64 in a group with how many have one in the groups before; then the
  // rows of those that have one. 0.7 MB for lid.176, where a table of all buckets would have 8.
  struct Group {
    uint64_t has_row = 0;
    uint32_t num_before = 0;
  };
  std::vector<Group> groups_;
  std::vector<int32_t> part_rows_;
  std::vector<Row> input_;   // one behind the file's
  std::vector<Row> output_;  // of the inner nodes
  std::vector<Node> tree_;
};

}  // namespace codemix
