// CHECK(condition, "what was wrong: ", value, ...): refuses bad arguments. Python sees a
// ValueError.
#pragma once

#include <sstream>
#include <stdexcept>

namespace codemix {

template <typename... Parts>
[[noreturn]] void FailCheck(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

}  // namespace codemix

#define CHECK(condition, ...)                            \
  do {                                                   \
    if (!(condition)) ::codemix::FailCheck(__VA_ARGS__); \
  } while (false)
