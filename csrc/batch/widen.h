// Tokens to int64, by the widest instructions that the processor has.
#pragma once

#include <cstdint>

namespace codemix {

// target[i] = source[i] for i in [0, size); the two do not overlap. The same on every processor.
void Widen(const uint16_t* source, int64_t* target, int64_t size);
void Widen(const int32_t* source, int64_t* target, int64_t size);

}  // namespace codemix
