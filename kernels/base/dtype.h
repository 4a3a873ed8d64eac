// Element types of matrices and arrays, and the dispatch from a run-time type to a template
// argument.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/base/error.h"

namespace gsplit {

/// fp16 is a storage type of features only; arithmetic is fp32 (or fp64 in the reference
/// precision).
enum class DType : std::uint8_t { kF16, kF32, kF64 };

struct Half {
  std::uint16_t bits;
};

/// IEEE binary16 to binary32, exact.
float to_float(Half half);

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 2;
    case DType::kF32:
      return 4;
    case DType::kF64:
      return 8;
  }
  return 0;
}

const char* name_of(DType dtype);

template <class T>
struct dtype_of;
template <>
struct dtype_of<Half> {
  static constexpr DType value = DType::kF16;
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

/// As dispatch_compute, with the storage types of features as well.
template <class F>
void dispatch_storage(DType dtype, F&& f) {
  if (dtype == DType::kF16) {
    f(Half{});
  } else {
    dispatch_compute(dtype, f);
  }
}

}  // namespace gsplit
