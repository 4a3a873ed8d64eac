// Matrix products by cuBLAS, which counts by columns: what is row-major here is the transposed
// matrix there, and C = A B is computed as C^T = B^T A^T.
#include <limits>

#include "kernels/cuda/check.h"
#include "kernels/cuda/ops.h"

namespace gsplit::cuda {
namespace {

/// C (m, n) = op(A) * op(B) + beta * C; all row-major.
struct Product {
  cublasOperation_t a_operation, b_operation;
  int m, n, k;
  int lda, ldb, ldc;
  bool accumulate;
};

int as_int(std::int64_t extent) {
  GSPLIT_CHECK(extent <= std::numeric_limits<int>::max());
  return static_cast<int>(extent);
}

Product product_of(const GemmArgs& args) {
  const Product product{.a_operation = args.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                        .b_operation = args.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                        .m = as_int(args.transpose_a ? args.a.cols : args.a.rows),
                        .n = as_int(args.transpose_b ? args.b.rows : args.b.cols),
                        .k = as_int(args.transpose_a ? args.a.rows : args.a.cols),
                        .lda = as_int(args.a.stride),
                        .ldb = as_int(args.b.stride),
                        .ldc = as_int(args.c.stride),
                        .accumulate = args.accumulate};
  GSPLIT_CHECK(product.k == (args.transpose_b ? args.b.cols : args.b.rows));
  GSPLIT_CHECK(args.c.rows == product.m && args.c.cols == product.n);
  return product;
}

void multiply(const Product& p, const float* a, const float* b, float* c, cublasHandle_t cublas) {
  const float alpha = 1, beta = p.accumulate ? 1 : 0;
  check(cublasSgemm(cublas, p.b_operation, p.a_operation, p.n, p.m, p.k, &alpha, b, p.ldb, a, p.lda,
                    &beta, c, p.ldc),
        "a matrix product");
}

void multiply(const Product& p, const double* a, const double* b, double* c,
              cublasHandle_t cublas) {
  const double alpha = 1, beta = p.accumulate ? 1 : 0;
  check(cublasDgemm(cublas, p.b_operation, p.a_operation, p.n, p.m, p.k, &alpha, b, p.ldb, a, p.lda,
                    &beta, c, p.ldc),
        "a matrix product");
}

cudaDataType type_of(DType dtype) { return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F; }

/// Of bf16: sums are fp32, c is bf16 or fp32.
void multiply_bf16(const Product& p, const GemmArgs& args, cublasHandle_t cublas) {
  const float alpha = 1, beta = p.accumulate ? 1 : 0;
  check(cublasGemmEx(cublas, p.b_operation, p.a_operation, p.n, p.m, p.k, &alpha, args.b.data,
                     CUDA_R_16BF, p.ldb, args.a.data, CUDA_R_16BF, p.lda, &beta, args.c.data,
                     type_of(args.c.dtype), p.ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "a matrix product of bf16");
}

}  // namespace

void gemm(const GemmArgs& args, cublasHandle_t cublas, const Queue& queue) {
  GSPLIT_CHECK(args.a.dtype == args.b.dtype);
  GSPLIT_CHECK(args.c.dtype == args.a.dtype || args.c.dtype == compute_dtype(args.a.dtype));
  const Product product = product_of(args);
  if (product.m == 0 || product.n == 0) return;
  if (product.k == 0) {
    if (args.accumulate) return;
    GSPLIT_CHECK(args.c.stride == args.c.cols);
    const auto bytes = static_cast<std::size_t>(args.c.rows * args.c.cols) * size_of(args.c.dtype);
    return queue.memory.fill_zero(args.c.data, bytes, queue.stream);
  }
  check(cublasSetStream(cublas, queue.raw()), "setting the stream");
  if (args.a.dtype == DType::kBF16) return multiply_bf16(product, args, cublas);
  dispatch_compute(args.c.dtype, [&](auto zero) {
    using T = decltype(zero);
    multiply(product, args.a.row<T>(0), args.b.row<T>(0), args.c.row<T>(0), cublas);
  });
}

}  // namespace gsplit::cuda
