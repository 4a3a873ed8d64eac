// Element types of matrices and arrays, and the dispatch from a run-time type to a template
// argument.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/base/error.h"

namespace gsplit {

/// fp16 is a storage type of features only; bf16 one of features and, with --precision bf16, of a
/// step's rows. Arithmetic is fp32 (or fp64 in the reference precision).
enum class DType : std::uint8_t { kF16, kBF16, kF32, kF64 };

/// IEEE binary16: 1 sign bit, 5 of the exponent, 10 of the fraction.
struct Half {
  std::uint16_t bits;
};

/// The upper half of a binary32: 1 sign bit, 8 of the exponent, 7 of the fraction.
struct BFloat16 {
  std::uint16_t bits;
};

/// Exact. Subnormal numbers are renormalised by a subtraction of normal ones, which no
/// flush-to-zero mode touches. Rows are converted by kernels/cpu/widen.h.
inline float to_float(Half half) {
  constexpr std::uint32_t kRebias = 112u << 23;  // the biases differ by 127 - 15
  const std::uint32_t magnitude = (half.bits & 0x7FFFu) << 13;
  const std::uint32_t exponent = magnitude & (0x1Fu << 23);
  const std::uint32_t normal =
      magnitude + kRebias + (exponent == (0x1Fu << 23) ? kRebias : 0u);  // infinity, NaN
  const float subnormal = std::bit_cast<float>(magnitude + kRebias + (1u << 23)) - 0x1p-14f;
  const std::uint32_t bits = exponent == 0 ? std::bit_cast<std::uint32_t>(subnormal) : normal;
  return std::bit_cast<float>(bits | ((half.bits & 0x8000u) << 16));
}
inline float to_float(BFloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
/// What arithmetic takes: storage types widened, others as they are.
inline float widened(Half x) { return to_float(x); }
inline float widened(BFloat16 x) { return to_float(x); }
inline float widened(float x) { return x; }
inline double widened(double x) { return x; }

/// Round to the nearest, ties to the even; too large becomes infinity, NaN stays NaN.
Half to_half(float x);
inline BFloat16 to_bfloat16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  // Rounding could carry NaN to infinity. Both are computed, so that loops have no branch.
  const std::uint32_t nan = (bits >> 16) | 0x40u;
  const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  return {static_cast<std::uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? nan : rounded)};
}

/// What arithmetic on T gives, as T: bf16 is rounded, once.
template <class T, class Computed>
T narrowed(Computed x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bfloat16(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}
/// The type of arithmetic on T: fp32 for storage types.
template <class T>
using compute_type = decltype(widened(T{}));

/// Neither infinity nor NaN. Without branches and without asking the floating-point unit.
constexpr bool is_finite(Half x) { return (x.bits & 0x7C00u) != 0x7C00u; }
constexpr bool is_finite(BFloat16 x) { return (x.bits & 0x7F80u) != 0x7F80u; }
constexpr bool is_finite(float x) {
  return (std::bit_cast<std::uint32_t>(x) & 0x7F800000u) != 0x7F800000u;
}

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kF32:
      return 4;
    case DType::kF64:
      return 8;
  }
  return 0;
}

const char* name_of(DType dtype);

/// The type of arithmetic, weights, logits and sums where rows are of `rows`.
constexpr DType compute_dtype(DType rows) { return rows == DType::kF64 ? rows : DType::kF32; }

template <class T>
struct dtype_of;
template <>
struct dtype_of<Half> {
  static constexpr DType value = DType::kF16;
};
template <>
struct dtype_of<BFloat16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct dtype_of<double> {
  static constexpr DType value = DType::kF64;
};

/// Calls `f(T{})` with T = float or double, the types that arithmetic is done in.
template <class F>
void dispatch_compute(DType dtype, F&& f) {
  GSPLIT_CHECK(dtype == DType::kF32 || dtype == DType::kF64);
  if (dtype == DType::kF64) {
    f(double{});
  } else {
    f(float{});
  }
}

/// As dispatch_compute, with bf16: the types of a step's rows.
template <class F>
void dispatch_rows(DType dtype, F&& f) {
  if (dtype == DType::kBF16) {
    f(BFloat16{});
  } else {
    dispatch_compute(dtype, f);
  }
}

/// As dispatch_rows, with fp16: the types of features.
template <class F>
void dispatch_storage(DType dtype, F&& f) {
  if (dtype == DType::kF16) {
    f(Half{});
  } else {
    dispatch_rows(dtype, f);
  }
}

}  // namespace gsplit
