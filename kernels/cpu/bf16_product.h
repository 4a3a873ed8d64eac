// Products of bf16 matrices with fp32 sums.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace gsplit::cpu {

/// c (m, n) = op(a) * op(b); all row-major. Overwrites c.
struct Bf16Product {
  bool transpose_a, transpose_b;
  std::int64_t m, n, k;
  const BFloat16* a;
  std::int64_t lda;
  const BFloat16* b;
  std::int64_t ldb;
  float* c;
  std::int64_t ldc;
};

/// On the calling thread alone. By oneDNN's bf16 kernels where the processor has AVX-512; elsewhere
/// the operands are widened for an fp32 product.
void multiply(const Bf16Product& product);

}  // namespace gsplit::cpu
