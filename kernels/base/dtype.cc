#include "kernels/base/dtype.h"

#include <bit>

namespace gsplit {

float to_float(Half half) {
  const std::uint32_t sign = std::uint32_t{half.bits & 0x8000u} << 16;
  const std::uint32_t exponent = (half.bits >> 10) & 0x1Fu;
  const std::uint32_t fraction = half.bits & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (fraction << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  }
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return "fp16";
    case DType::kF32:
      return "fp32";
    case DType::kF64:
      return "fp64";
  }
  return "unknown";
}

}  // namespace gsplit
