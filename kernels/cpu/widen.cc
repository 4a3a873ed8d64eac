#include "kernels/cpu/widen.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace gsplit::cpu {
namespace {

template <class T>
void widen_plainly(const T* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = to_float(from[i]);
}

#if defined(__x86_64__)

/// By the processor's own word: clang 14 does not take "f16c" in __builtin_cpu_supports.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

bool has_vectors() {
  static const bool has = __builtin_cpu_supports("avx2") && has_f16c();
  return has;
}

[[gnu::target("avx2,f16c")]] __m256 widen8(const Half* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

[[gnu::target("avx2,f16c")]] __m256 widen8(const BFloat16* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

template <class T>
[[gnu::target("avx2,f16c")]] void widen_by_vectors(const T* from, float* to, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(to + i, widen8(from + i));
  for (; i < count; ++i) to[i] = to_float(from[i]);
}

template <class T>
void widen_row(const T* from, float* to, std::int64_t count) {
  has_vectors() ? widen_by_vectors(from, to, count) : widen_plainly(from, to, count);
}

#else

template <class T>
void widen_row(const T* from, float* to, std::int64_t count) {
  widen_plainly(from, to, count);
}

#endif

}  // namespace

void widen(const Half* from, float* to, std::int64_t count) { widen_row(from, to, count); }
void widen(const BFloat16* from, float* to, std::int64_t count) { widen_row(from, to, count); }

}  // namespace gsplit::cpu
