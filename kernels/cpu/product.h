// A matrix product as the files that compute one hand it on.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

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

/// On the calling thread. `result`: that of C, the rows' or computed.
void multiply_part(const Product& part, DType rows, DType result);

/// Rows of A and B, both long, for each of the partial products whose sum is a product with A
/// transposed: a function of their number alone.
std::int64_t depth_chunk(std::int64_t rows);

}  // namespace gsplit::cpu
