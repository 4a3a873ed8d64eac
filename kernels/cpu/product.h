// A matrix product as the files that compute one hand it on.
#pragma once

#include <cstdint>

namespace gsplit::cpu {

/// C (m, n) = op(A) * op(B) + beta * C; all row-major, beta 0 or 1.
struct Product {
  bool transpose_a, transpose_b;
  std::int64_t m, n, k;
  const void* a;
  std::int64_t lda;
  const void* b;
  std::int64_t ldb;
  void* c;
  std::int64_t ldc;
  float beta;
};

}  // namespace gsplit::cpu
