// Whether functions can be compiled for an instruction set that is looked for when they run.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define CODEMIX_X86 1
#include <immintrin.h>
#endif
