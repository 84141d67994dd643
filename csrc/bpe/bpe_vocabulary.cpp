#include "bpe/bpe_vocabulary.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>

#include "common/check.h"
#include "common/utf8.h"

namespace codemix {

namespace {

constexpr int64_t kFew = 48;  // symbols, up to which a plain search for the next merge is faster

// GPT-2's table: printable bytes are themselves, the others are counted on from U+0100.
struct ByteTable {
  int byte_of[0x144];

  ByteTable() {
    std::fill(std::begin(byte_of), std::end(byte_of), -1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool is_printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
      byte_of[is_printable ? byte : next++] = byte;
    }
  }
};

// Empty where a character stands for no byte: such an entry is never reached from bytes.
std::string BytesOf(std::string_view entry, const ByteTable& table) {
  std::string bytes;
  for (size_t i = 0; i < entry.size(); i += SizeOfCharacter(entry[i])) {
    const uint32_t code = CodeOfCharacter(entry.data() + i);
    if (code >= std::size(table.byte_of) || table.byte_of[code] < 0) return {};
    bytes.push_back(static_cast<char>(table.byte_of[code]));
  }
  return bytes;
}

using Ids = std::unordered_map<std::string_view, uint32_t>;

uint32_t IdOf(const Ids& ids, std::string_view entry) {
  const auto found = ids.find(entry);
  CHECK(found != ids.end(), "a merge needs ", entry, ", which is no entry");
  return found->second;
}

}  // namespace

BpeVocabulary::BpeVocabulary(
    const std::vector<std::pair<std::string_view, uint32_t>>& tokens,
    const std::vector<std::pair<std::string_view, std::string_view>>& merges,
    bool keeps_known_words) {
  int bits = 4;
  while (merges.size() * 2 > uint64_t{1} << bits) ++bits;
  CHECK(merges.size() < kMaxMerges, merges.size(), " merges are too many");
  shift_ = 64 - bits;
  mask_ = (uint64_t{1} << bits) - 1;
  slots_.assign(mask_ + 1, kEmpty);
  const ByteTable table;
  Ids ids(tokens.begin(), tokens.end(), 2 * tokens.size());
  std::fill(std::begin(byte_tokens_), std::end(byte_tokens_), kNone);
  for (const auto& [entry, id] : tokens) {
    CHECK(id < kMaxTokens - 1, "the entry ", entry, " has the number ", id);
    if (entry.size() > 2 && !keeps_known_words) continue;
    const std::string bytes = BytesOf(entry, table);
    if (bytes.size() == 1) byte_tokens_[static_cast<uint8_t>(bytes[0])] = id;
    if (keeps_known_words && !bytes.empty()) known_words_[bytes] = id;
  }
  for (int byte = 0; byte < 256; ++byte) {
    CHECK(byte_tokens_[byte] != kNone, "byte ", byte, " is no entry");
  }
  std::string joined;
  for (uint32_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    joined.assign(left).append(right);
    Insert(IdOf(ids, left), IdOf(ids, right), rank);
    merged_.push_back(IdOf(ids, joined));
  }
  byte_pair_ranks_.reserve(256 * 256);
  for (const uint32_t left : byte_tokens_) {
    for (const uint32_t right : byte_tokens_) byte_pair_ranks_.push_back(RankOf(left, right));
  }
}

// A pair that is listed twice has its last rank, as in `tokenizers`.
void BpeVocabulary::Insert(uint32_t left, uint32_t right, uint32_t rank) {
  const uint64_t key = KeyOf(left, right);
  uint64_t i = PlaceOf(key);
  while (slots_[i] != kEmpty && slots_[i] >> kRankBits != key) i = (i + 1) & mask_;
  slots_[i] = key << kRankBits | rank;
}

int64_t BpeVocabulary::Encode(std::string_view word, uint32_t* out) const {
  if (!known_words_.empty()) {
    const auto found = known_words_.find(std::string(word));
    if (found != known_words_.end()) {
      *out = found->second;
      return 1;
    }
  }
  const auto count = static_cast<int64_t>(word.size());
  const auto byte = [word](int64_t i) { return static_cast<uint8_t>(word[i]); };
  for (int64_t i = 0; i < count; ++i) out[i] = byte_tokens_[byte(i)];
  if (count > kFew) return MergeMany(count, out);
  uint32_t ranks[kFew];
  for (int64_t i = 0; i + 1 < count; ++i) ranks[i] = byte_pair_ranks_[byte(i) << 8 | byte(i + 1)];
  return MergeFew(count, out, ranks);
}

// `ranks`: of each token with the next.
int64_t BpeVocabulary::MergeFew(int64_t count, uint32_t* tokens, uint32_t* ranks) const {
  while (count > 1) {
    int64_t best = 0;
    uint32_t lowest = ranks[0];
    for (int64_t i = 1; i + 1 < count; ++i) {
      best = ranks[i] < lowest ? i : best;
      lowest = ranks[i] < lowest ? ranks[i] : lowest;
    }
    if (lowest == kNone) break;
    tokens[best] = merged_[lowest];
    --count;
    for (int64_t i = best + 1; i < count; ++i) {
      tokens[i] = tokens[i + 1];
      ranks[i - 1] = ranks[i];
    }
    if (best + 1 < count) ranks[best] = RankOf(tokens[best], tokens[best + 1]);
    if (best > 0) ranks[best - 1] = RankOf(tokens[best - 1], tokens[best]);
  }
  return count;
}

// The same for words of any length: n log n steps.
int64_t BpeVocabulary::MergeMany(int64_t count, uint32_t* tokens) const {
  struct Place {
    int64_t before, behind;  // of the next symbols
  };
  using Entry = std::tuple<uint32_t, int64_t, uint32_t, uint32_t>;  // rank, place, left, right
  std::vector<Place> places(count);
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue;
  const auto push = [&](int64_t i) {
    if (i < 0 || places[i].behind == count) return;
    const uint32_t left = tokens[i], right = tokens[places[i].behind];
    const uint32_t rank = RankOf(left, right);
    if (rank != kNone) queue.emplace(rank, i, left, right);
  };
  for (int64_t i = 0; i < count; ++i) places[i] = {i - 1, i + 1};
  for (int64_t i = 0; i + 1 < count; ++i) push(i);
  while (!queue.empty()) {
    const auto [rank, i, left, right] = queue.top();
    queue.pop();
    const int64_t behind = places[i].behind;
    // Merged meanwhile, itself or its neighbour.
    if (tokens[i] != left || behind == count || tokens[behind] != right) continue;
    tokens[i] = merged_[rank];
    tokens[behind] = kNone;
    places[i].behind = places[behind].behind;
    if (places[i].behind < count) places[places[i].behind].before = i;
    push(places[i].before);
    push(i);
  }
  return std::remove(tokens, tokens + count, kNone) - tokens;
}

}  // namespace codemix
