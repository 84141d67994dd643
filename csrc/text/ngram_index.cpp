#include "text/ngram_index.h"

#include <algorithm>
#include <map>
#include <utility>

#include "common/check.h"

namespace codemix {

namespace {

// For each gate, so that few words of other texts pass, and the bits stay in the caches.
constexpr uint64_t kBitsOfGate = 16;

}  // namespace

NgramIndex::Level::Level(int32_t length, int64_t num_gates) : gate_length(length), shift(64 - 6) {
  while (uint64_t{1} << (64 - shift) < kBitsOfGate * static_cast<uint64_t>(num_gates)) --shift;
  bits.resize((uint64_t{1} << (64 - shift)) / 64);
}

NgramIndex::NgramIndex(Span<const int32_t> lengths, Span<const uint64_t> hashes,
                       Span<const int32_t> gate_lengths, Span<const uint64_t> gates)
    : lengths_(lengths.begin(), lengths.end()) {
  const int64_t count = lengths.size();
  CHECK(hashes.size() == count && gate_lengths.size() == count && gates.size() == count,
        "arrays of ", count, ", ", hashes.size(), ", ", gate_lengths.size(), " and ", gates.size(),
        " numbers");
  std::map<int32_t, std::vector<int64_t>> by_gate_length;
  for (int64_t i = 0; i < count; ++i) {
    CHECK(1 <= gate_lengths[i] && gate_lengths[i] <= lengths[i], "n-gram ", i, " of ", lengths[i],
          " words has a gate of ", gate_lengths[i]);
    by_gate_length[gate_lengths[i]].push_back(i);
  }
  for (const auto& [gate_length, members] : by_gate_length) {
    Level level(gate_length, static_cast<int64_t>(members.size()));
    std::map<int32_t, std::unordered_map<uint64_t, int64_t>> by_length;
    for (const int64_t i : members) {
      const uint64_t bit = gates[i] >> level.shift;
      level.bits[bit / 64] |= uint64_t{1} << bit % 64;
      by_length[lengths[i]].emplace(hashes[i], i);
    }
    for (auto& [length, entries] : by_length) {
      level.lengths.push_back(length);
      level.entries.push_back(std::move(entries));
    }
    levels_.push_back(std::move(level));
  }
}

void NgramIndex::FindAt(const Words& words, int64_t first, const Level& level,
                        std::vector<Match>* matches) const {
  for (size_t i = 0; i < level.lengths.size(); ++i) {
    if (first + level.lengths[i] > words.size()) return;
    const auto found = level.entries[i].find(words.HashOf(first, level.lengths[i]));
    if (found != level.entries[i].end()) matches->push_back({first, found->second});
  }
}

std::vector<NgramIndex::Match> NgramIndex::Find(const Words& words) const {
  std::vector<Match> matches;
  std::vector<uint64_t> gates;
  for (const Level& level : levels_) {
    const int64_t count = words.NumNgrams(level.gate_length);
    gates.resize(count);
    words.HashNgramsByRolling(level.gate_length, {gates.data(), count});
    for (int64_t first = 0; first < count; ++first) {
      if (level.MayHave(gates[first])) FindAt(words, first, level, &matches);
    }
  }
  std::sort(matches.begin(), matches.end(), [this](const Match& one, const Match& other) {
    return std::pair(one.first_word, lengths_[one.entry]) <
           std::pair(other.first_word, lengths_[other.entry]);
  });
  return matches;
}

}  // namespace codemix
