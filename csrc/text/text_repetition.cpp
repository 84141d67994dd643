#include "text/text_repetition.h"

#include <algorithm>
#include <vector>

#include "text/text_hash.h"

namespace codemix {
namespace {

// How often each hash was added, of at most a number known before.
class HashCounts {
 public:
  explicit HashCounts(size_t most) {
    size_t size = 16;
    while (size < 2 * most) size *= 2;
    slots_.resize(size);
  }

  // Returns where it is; Count() of there is 1 where it is new.
  uint32_t Add(uint64_t hash) {
    const size_t mask = slots_.size() - 1;
    size_t at = hash & mask;
    while (slots_[at].count > 0 && slots_[at].hash != hash) at = (at + 1) & mask;
    slots_[at].hash = hash;
    ++slots_[at].count;
    return static_cast<uint32_t>(at);
  }

  uint32_t Count(uint32_t slot) const { return slots_[slot].count; }

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t count = 0;
  };
  std::vector<Slot> slots_;
};

int64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char byte) { return (static_cast<uint8_t>(byte) & 0xc0) != 0x80; });
}

// Those of the pieces that stood before, and their characters.
struct Duplicates {
  int64_t count = 0;
  int64_t characters = 0;
};

Duplicates FindDuplicates(const std::vector<std::string_view>& pieces) {
  HashCounts seen(pieces.size());
  Duplicates found;
  for (const std::string_view piece : pieces) {
    if (seen.Count(seen.Add(HashOfText(piece))) == 1) continue;
    ++found.count;
    found.characters += CountCharacters(piece);
  }
  return found;
}

// What stands between runs of `fewest` or more "\n".
std::vector<std::string_view> SplitAtNewlines(std::string_view text, size_t fewest) {
  std::vector<std::string_view> pieces;
  size_t start = 0;
  for (size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at)) {
    const size_t end = std::min(text.find_first_not_of('\n', at), text.size());
    if (end - at >= fewest) {
      pieces.push_back(text.substr(start, at - start));
      start = end;
    }
    at = end;
  }
  pieces.push_back(text.substr(start));
  return pieces;
}

struct Words {
  std::vector<uint64_t> hashes;
  std::vector<int64_t> ends;  // characters of the words up to and with this one; 0 in front

  int64_t size() const { return static_cast<int64_t>(hashes.size()); }
  int64_t Characters(int64_t first, int64_t count) const {
    return ends[first + count] - ends[first];
  }
};

Words SplitIntoWords(std::string_view text, const CharacterTable& classes) {
  Words words;
  words.ends.push_back(0);
  for (size_t at = 0; at < text.size();) {
    if (classes.Of(&text[at]) & kSpace) {
      at += SizeOfCharacter(text[at]);
      continue;
    }
    KindsSeen kinds;
    const size_t end = classes.EndOfWord(text, at, &kinds);
    words.hashes.push_back(HashOfText(text.substr(at, end - at)));
    words.ends.push_back(words.ends.back() + kinds.count);
    at = end;
  }
  return words;
}

std::string_view Strip(std::string_view text, const CharacterTable& classes) {
  size_t first = 0;
  while (first < text.size() && classes.Of(&text[first]) & kSpace) {
    first += SizeOfCharacter(text[first]);
  }
  size_t end = text.size();
  while (end > first) {
    size_t last = end - 1;
    while ((static_cast<uint8_t>(text[last]) & 0xc0) == 0x80) --last;
    if ((classes.Of(&text[last]) & kSpace) == 0) break;
    end = last;
  }
  return text.substr(first, end - first);
}

// The n-grams of a text that may stand there more than once, for growing n. An n-gram can do so
// only where both (n - 1)-grams in it do, so that most places are dropped early.
class RepeatedNgrams {
 public:
  explicit RepeatedNgrams(const Words& words) : words_(words), keys_(words.hashes) {
    for (int64_t place = 0; place < words.size(); ++place) places_.push_back(place);
    is_repeated_.assign(words.size(), 1);
  }

  // Goes on to the n-grams of one word more. Returns how often the most frequent stands there (0:
  // the text is shorter), and sets `first` to its first place.
  int64_t Grow(int64_t* first) {
    ++n_;
    *first = 0;
    if (words_.size() < n_) {
      places_.clear();
      return 0;
    }
    std::vector<int64_t> grown;
    for (const int64_t place : places_) {
      if (place + n_ > words_.size() || !is_repeated_[place + 1]) continue;
      keys_[place] = MixHash(keys_[place], words_.hashes[place + n_ - 1]);
      grown.push_back(place);
    }
    return KeepRepeated(grown, first);
  }

  // See RepetitionStatistics::duplicate_ngram_characters.
  int64_t DuplicateCharacters() const {
    HashCounts seen(places_.size());
    int64_t characters = 0;
    int64_t next = 0;  // where reading goes on
    for (const int64_t place : places_) {
      if (place < next || seen.Count(seen.Add(keys_[place])) == 1) continue;
      characters += words_.Characters(place, n_);
      next = place + n_;
    }
    return characters;
  }

 private:
  int64_t KeepRepeated(const std::vector<int64_t>& grown, int64_t* first) {
    HashCounts counts(grown.size());
    std::vector<uint32_t> slots;
    slots.reserve(grown.size());
    for (const int64_t place : grown) slots.push_back(counts.Add(keys_[place]));
    for (const int64_t place : places_) is_repeated_[place] = 0;
    places_.clear();
    int64_t most = 1;
    for (size_t i = 0; i < grown.size(); ++i) {
      const int64_t count = counts.Count(slots[i]);
      if (count == 1) continue;
      places_.push_back(grown[i]);
      is_repeated_[grown[i]] = 1;
      if (count > most) {
        most = count;
        *first = grown[i];
      }
    }
    return most;
  }

  const Words& words_;
  std::vector<uint64_t> keys_;        // [word]: hash of the n-gram that begins there
  std::vector<int64_t> places_;       // of the n-grams that stand there more than once, ascending
  std::vector<uint8_t> is_repeated_;  // [word]: is it one of `places_`
  int64_t n_ = 1;
};

void CountNgrams(const Words& words, RepetitionStatistics* counts) {
  RepeatedNgrams ngrams(words);
  for (int64_t n = 2; n <= 10; ++n) {
    int64_t first;
    const int64_t most = ngrams.Grow(&first);
    if (n <= 4 && most > 0) {
      counts->top_ngram_characters[n - 2] = most * (words.Characters(first, n) + n - 1);
    }
    if (n >= 5) counts->duplicate_ngram_characters[n - 5] = ngrams.DuplicateCharacters();
  }
}

}  // namespace

RepetitionStatistics CountRepetition(std::string_view text, const CharacterTable& classes) {
  RepetitionStatistics counts;
  counts.num_characters = CountCharacters(text);
  const auto lines = SplitAtNewlines(text, 1);
  const Duplicates duplicate_lines = FindDuplicates(lines);
  counts.num_lines = static_cast<int64_t>(lines.size());
  counts.num_duplicate_lines = duplicate_lines.count;
  counts.duplicate_line_characters = duplicate_lines.characters;
  const auto paragraphs = SplitAtNewlines(Strip(text, classes), 2);
  const Duplicates duplicate_paragraphs = FindDuplicates(paragraphs);
  counts.num_paragraphs = static_cast<int64_t>(paragraphs.size());
  counts.num_duplicate_paragraphs = duplicate_paragraphs.count;
  counts.duplicate_paragraph_characters = duplicate_paragraphs.characters;
  CountNgrams(SplitIntoWords(text, classes), &counts);
  return counts;
}

}  // namespace codemix
