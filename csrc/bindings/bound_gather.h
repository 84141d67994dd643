// The token gather as Python has it, for the bindings of what it is a part of.
#pragma once

#include <cstdint>

#include "batch/token_gather.h"
#include "bindings/arrays.h"

namespace codemix {

// A TokenGather that keeps its arrays alive.
class BoundTokenGather {
 public:
  BoundTokenGather(py::list arrays, int num_threads);

  Array<int64_t> TokensAndLabels(const Array<int16_t>& source, const Array<int64_t>& row,
                                 const Array<int64_t>& first, const Array<int64_t>& length,
                                 int64_t fill, Array<int64_t> tokens, Array<int64_t> labels);

  template <typename Token>
  Array<int64_t> Windows(const Array<int16_t>& source, const Array<int64_t>& row,
                         const Array<int64_t>& first, const Array<int64_t>& length, Token fill,
                         Array<Token> rows);

  TokenGather& gather() { return gather_; }

 private:
  py::list arrays_;
  TokenGather gather_;
};

}  // namespace codemix
