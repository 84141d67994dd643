#include "pack_tokens.h"

#include <algorithm>
#include <limits>

#include "check.h"

namespace codemix {

namespace {

// The largest token, found while it is in the cache anyway; written so that it vectorises.
template <typename Token>
uint32_t Narrow(const uint32_t* from, int64_t count, Token* to) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, from[i]);
    to[i] = static_cast<Token>(from[i]);
  }
  return largest;
}

}  // namespace

template <typename Token>
int64_t PackTokens(Span<const uint32_t> tokens, Span<const int64_t> borders, int64_t end,
                   int64_t vocabulary_size, Span<Token> packed, Span<int32_t> lengths) {
  CHECK(borders.size() > 0 && borders[0] == 0 && borders[borders.size() - 1] == tokens.size(),
        "borders do not go from 0 to ", tokens.size());
  CHECK(lengths.size() == borders.size() - 1, "lengths has ", lengths.size(), " entries for ",
        borders.size() - 1, " documents");
  CHECK(end < vocabulary_size, "end is ", end, " of ", vocabulary_size);
  const bool has_end = end >= 0;
  CHECK(packed.size() >= tokens.size() + (has_end ? lengths.size() : 0), "no room in packed");
  constexpr int64_t kLongest = std::numeric_limits<int32_t>::max();
  Token* out = packed.data();
  for (int64_t i = 0; i < lengths.size(); ++i) {
    const int64_t count = borders[i + 1] - borders[i];
    CHECK(count >= 0 && borders[i + 1] <= tokens.size(), "borders are wrong at ", i);
    CHECK(count < kLongest, "document ", i, " has ", count, " tokens");
    const uint32_t largest = Narrow(tokens.data() + borders[i], count, out);
    CHECK(largest < vocabulary_size || count == 0, "token ", largest, " of ", vocabulary_size);
    out += count;
    const bool ends = has_end && count > 0;
    if (ends) *out++ = static_cast<Token>(end);
    lengths[i] = static_cast<int32_t>(count + ends);
  }
  return out - packed.data();
}

template int64_t PackTokens(Span<const uint32_t>, Span<const int64_t>, int64_t, int64_t,
                            Span<uint16_t>, Span<int32_t>);
template int64_t PackTokens(Span<const uint32_t>, Span<const int64_t>, int64_t, int64_t,
                            Span<int32_t>, Span<int32_t>);

}  // namespace codemix
