#include "text/minhash.h"

#include <algorithm>

#include "common/check.h"
#include "common/x86.h"

namespace codemix {

namespace {

constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;
constexpr int64_t kFilledTo = 16;  // two registers of AVX-512

// 2^61 is 1 mod kPrime, so the three highest bits can be added to the others: what comes out is
// below kPrime + 8, and one subtraction is enough.
uint64_t ModuloPrime(uint64_t word) {
  const uint64_t folded = (word & kPrime) + (word >> 61);
  return folded >= kPrime ? folded - kPrime : folded;
}

void SignPlainly(Span<const uint64_t> shingles, const uint64_t* multipliers,
                 const uint64_t* summands, Span<uint64_t> minima) {
  for (int64_t i = 0; i < minima.size(); ++i) {
    uint64_t least = ~uint64_t{0};
    for (const uint64_t shingle : shingles) {
      least = std::min(least, ModuloPrime(shingle * multipliers[i] + summands[i]));
    }
    minima[i] = least;
  }
}

#ifdef CODEMIX_X86

__attribute__((target("avx2"))) inline __m256i Load(const uint64_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

// Four functions of one shingle. high: the multipliers' high halves, `shingle` in all places.
__attribute__((target("avx2"))) inline __m256i HashFour(__m256i shingle, __m256i multipliers,
                                                        __m256i high, __m256i summands) {
  const __m256i shingle_high = _mm256_srli_epi64(shingle, 32);
  const __m256i across = _mm256_add_epi64(_mm256_mul_epu32(shingle_high, multipliers),
                                          _mm256_mul_epu32(shingle, high));
  const __m256i product =
      _mm256_add_epi64(_mm256_mul_epu32(shingle, multipliers), _mm256_slli_epi64(across, 32));
  const __m256i word = _mm256_add_epi64(product, summands);
  const __m256i prime = _mm256_set1_epi64x(kPrime);
  const __m256i folded =
      _mm256_add_epi64(_mm256_and_si256(word, prime), _mm256_srli_epi64(word, 61));
  // Comparisons are of signed numbers, which these are as well.
  const __m256i is_below = _mm256_cmpgt_epi64(prime, folded);
  return _mm256_sub_epi64(folded, _mm256_andnot_si256(is_below, prime));
}

__attribute__((target("avx2"))) void SignAvx2(Span<const uint64_t> shingles,
                                              const uint64_t* multipliers, const uint64_t* summands,
                                              Span<uint64_t> minima) {
  for (int64_t i = 0; i < minima.size(); i += 4) {
    const __m256i a = Load(multipliers + i);
    const __m256i high = _mm256_srli_epi64(a, 32);
    const __m256i b = Load(summands + i);
    __m256i least = _mm256_set1_epi64x(INT64_MAX);
    for (const uint64_t shingle : shingles) {
      const __m256i all = _mm256_set1_epi64x(static_cast<int64_t>(shingle));
      const __m256i hash = HashFour(all, a, high, b);
      least = _mm256_blendv_epi8(least, hash, _mm256_cmpgt_epi64(least, hash));
    }
    alignas(32) uint64_t four[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(four), least);
    std::copy_n(four, std::min<int64_t>(4, minima.size() - i), minima.data() + i);
  }
}

// The forms without a mask start from an undefined register, of which GCC 12 warns.
constexpr __mmask8 kAllEight = 0xff;

#define CODEMIX_AVX512 __attribute__((target("avx512f,avx512dq")))

CODEMIX_AVX512 inline __m512i Least(__m512i one, __m512i other) {
  return _mm512_maskz_min_epu64(kAllEight, one, other);
}

// The lesser of `least` and the functions of one shingle.
CODEMIX_AVX512 inline __m512i LeastOfEight(__m512i least, __m512i shingle, __m512i multipliers,
                                           __m512i summands) {
  const __m512i prime = _mm512_set1_epi64(kPrime);
  const __m512i word = _mm512_add_epi64(_mm512_mullo_epi64(shingle, multipliers), summands);
  const __m512i folded =
      _mm512_add_epi64(_mm512_and_epi64(word, prime), _mm512_maskz_srli_epi64(kAllEight, word, 61));
  // What is below the prime becomes huge by the subtraction, and stays as it is.
  return Least(least, Least(folded, _mm512_sub_epi64(folded, prime)));
}

CODEMIX_AVX512 void SignAvx512(Span<const uint64_t> shingles, const uint64_t* multipliers,
                               const uint64_t* summands, Span<uint64_t> minima) {
  for (int64_t i = 0; i < minima.size(); i += kFilledTo) {
    const __m512i a[2] = {_mm512_loadu_si512(multipliers + i),
                          _mm512_loadu_si512(multipliers + i + 8)};
    const __m512i b[2] = {_mm512_loadu_si512(summands + i), _mm512_loadu_si512(summands + i + 8)};
    __m512i least[2] = {_mm512_set1_epi64(-1), _mm512_set1_epi64(-1)};
    for (const uint64_t shingle : shingles) {
      const __m512i all = _mm512_set1_epi64(static_cast<int64_t>(shingle));
      least[0] = LeastOfEight(least[0], all, a[0], b[0]);
      least[1] = LeastOfEight(least[1], all, a[1], b[1]);
    }
    alignas(64) uint64_t sixteen[kFilledTo];
    _mm512_store_si512(sixteen, least[0]);
    _mm512_store_si512(sixteen + 8, least[1]);
    std::copy_n(sixteen, std::min(kFilledTo, minima.size() - i), minima.data() + i);
  }
}

#endif  // CODEMIX_X86

auto KernelOf(Instructions instructions) {
  CHECK(IsAvailable(instructions), "this processor lacks instructions ",
        static_cast<int>(instructions));
#ifdef CODEMIX_X86
  const bool is_best = instructions == Instructions::kBest;
  if (instructions == Instructions::kAvx512 || (is_best && IsAvailable(Instructions::kAvx512))) {
    return &SignAvx512;
  }
  if (instructions == Instructions::kAvx2 || (is_best && IsAvailable(Instructions::kAvx2))) {
    return &SignAvx2;
  }
#endif
  return &SignPlainly;
}

std::vector<uint64_t> FilledUp(Span<const uint64_t> numbers) {
  std::vector<uint64_t> filled(numbers.begin(), numbers.end());
  filled.resize((numbers.size() + kFilledTo - 1) / kFilledTo * kFilledTo);
  return filled;
}

}  // namespace

bool IsAvailable(Instructions instructions) {
  switch (instructions) {
    case Instructions::kBest:
    case Instructions::kPlain:
      return true;
#ifdef CODEMIX_X86
    case Instructions::kAvx2:
      return __builtin_cpu_supports("avx2") != 0;
    case Instructions::kAvx512:
      return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0;
#endif
    default:
      return false;
  }
}

MinHash::MinHash(Span<const uint64_t> multipliers, Span<const uint64_t> summands,
                 Instructions instructions)
    : num_hashes_(multipliers.size()),
      multipliers_(FilledUp(multipliers)),
      summands_(FilledUp(summands)),
      kernel_(KernelOf(instructions)) {
  CHECK(num_hashes_ >= 1, "no hash function");
  CHECK(summands.size() == num_hashes_, summands.size(), " summands for ", num_hashes_,
        " multipliers");
}

void MinHash::Sign(Span<const uint64_t> shingles, Span<uint64_t> minima) const {
  CHECK(minima.size() == num_hashes_, "room for ", minima.size(), " hashes, not ", num_hashes_);
  if (shingles.size() == 0) {
    std::fill(minima.begin(), minima.end(), ~uint64_t{0});
    return;
  }
  kernel_(shingles, multipliers_.data(), summands_.data(), minima);
}

}  // namespace codemix
