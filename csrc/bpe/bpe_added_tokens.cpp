#include "bpe/bpe_added_tokens.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace codemix {

namespace {

uint16_t StartOf(const char* text) {
  uint16_t start;
  std::memcpy(&start, text, sizeof(start));
  return start;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), has_start_(1 << 16) {
  std::stable_sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    return a.content.size() > b.content.size();
  });
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    CHECK(content.size() >= 2, "added token ", tokens_[i].id, " has less than two bytes");
    const uint16_t start = StartOf(content.data());
    has_start_[start] = true;
    by_start_[start].push_back(static_cast<int>(i));
    begins_token_[static_cast<uint8_t>(content[0])] = true;
  }
  if (std::count(std::begin(begins_token_), std::end(begins_token_), true) == 1) {
    only_first_byte_ = static_cast<uint8_t>(tokens_[0].content[0]);
  }
}

const AddedToken* AddedTokens::Find(const char* text, const char* end, const char** found) const {
  if (tokens_.empty()) return nullptr;
  for (const char* at = text; end - at >= 2; ++at) {
    if (only_first_byte_ >= 0) {
      at = static_cast<const char*>(std::memchr(at, only_first_byte_, end - at));
      if (at == nullptr || end - at < 2) return nullptr;
    } else if (!begins_token_[static_cast<uint8_t>(*at)]) {
      continue;
    }
    const AddedToken* token = MatchAt(at, end);
    if (token == nullptr) continue;
    *found = at;
    return token;
  }
  return nullptr;
}

const AddedToken* AddedTokens::MatchAt(const char* text, const char* end) const {
  const uint16_t start = StartOf(text);
  if (!has_start_[start]) return nullptr;
  for (const int i : by_start_.at(start)) {
    const std::string& content = tokens_[i].content;
    if (end - text >= static_cast<int64_t>(content.size()) &&
        std::memcmp(text, content.data(), content.size()) == 0) {
      return &tokens_[i];
    }
  }
  return nullptr;
}

}  // namespace codemix
