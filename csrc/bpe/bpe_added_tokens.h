// Tokens that a text may spell, such as the end-of-document token: found before it is cut.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace codemix {

struct AddedToken {
  enum class Role : uint8_t {
    kToken,    // is this token
    kText,     // is passed over, with what else begins in it
    kRefused,  // its text is left to the reference
  };
  std::string content;  // two bytes at least
  uint32_t id;
  Role role;
};

// Matches are found from left to right, of several that begin together the longest.
class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // The first that begins in [text, end) and ends by `end`, its place in *found; null for none.
  const AddedToken* Find(const char* text, const char* end, const char** found) const;

 private:
  const AddedToken* MatchAt(const char* text, const char* end) const;

  std::vector<AddedToken> tokens_;                           // the longest first
  std::unordered_map<uint16_t, std::vector<int>> by_start_;  // by their first two bytes
  std::vector<bool> has_start_;
  bool begins_token_[256] = {};
  int only_first_byte_ = -1;  // where they all begin with it
};

}  // namespace codemix
