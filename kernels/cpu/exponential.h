// exp and exp(x) - 1 in a form that compilers turn into vector code: no branches, no calls. fp64,
// the reference precision, is the library's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/cpu/instruction_set.h"

namespace gsplit::cpu {

/// x = n ln 2 + r with |r| <= ln(2) / 2; exp(x) = power * (1 + rest), power = 2^n, rest =
/// exp(r) - 1.
struct SplitExponential {
  float power;
  float rest;
};

/// The polynomial is that of expf in S. Moshier's Cephes library. REQUIRES: x <= 88. What is below
/// -87 counts as -87, where exp(x) is about the smallest normal number; NaN stays.
GSPLIT_INLINE_BODY inline SplitExponential split_exponential(float x) {
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves no bits of the fraction
  x = x < -87.0f ? -87.0f : x;
  const float n = (x * kLog2E + kRound) - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  // n + 127 as the bits of an exponent; an exact small integer in the low bits of n + kRound.
  const auto bits = std::bit_cast<std::uint32_t>(n + kRound) + 127u;
  return {std::bit_cast<float>(bits << 23), p * r * r + r};
}

/// exp(x) for x <= 0, within 2 units in the last place.
GSPLIT_INLINE_BODY inline float exp_not_positive(float x) {
  const SplitExponential e = split_exponential(x);
  return e.power + e.power * e.rest;
}
GSPLIT_INLINE_BODY inline double exp_not_positive(double x) { return std::exp(x); }

/// exp(x) - 1 for x <= 0, also where x is tiny.
GSPLIT_INLINE_BODY inline float expm1_not_positive(float x) {
  const SplitExponential e = split_exponential(x);
  return (e.power - 1.0f) + e.power * e.rest;
}
GSPLIT_INLINE_BODY inline double expm1_not_positive(double x) { return std::expm1(x); }

}  // namespace gsplit::cpu
