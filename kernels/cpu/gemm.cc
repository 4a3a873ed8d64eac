// Matrix products. fp32 and bf16 are oneDNN's, called on fixed chunks from inside the loop over
// threads, where it runs sequentially: so neither the number of threads nor its own blocking over
// threads can change a sum. fp64 is a plain loop, the reference precision.
#include <dnnl.h>

#include <vector>

#include "kernels/cpu/bf16_product.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/thin_product.h"
#include "kernels/cpu/work_row.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kMinChunk = 128;  // rows per call, so that packing the other matrix pays
constexpr std::int64_t kMaxRowChunk = 1024;
constexpr std::int64_t kMaxPartials = 32;

/// Rows of C per call: enough calls for many threads, a function of the row count alone.
std::int64_t row_chunk(std::int64_t rows) {
  return std::clamp(num_chunks(rows, 16), kMinChunk, kMaxRowChunk);
}

void multiply_as(const Product& p, float, float) {
  const dnnl_status_t status =
      dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.m, p.n, p.k, 1.0f,
                 static_cast<const float*>(p.a), p.lda, static_cast<const float*>(p.b), p.ldb,
                 p.beta, static_cast<float*>(p.c), p.ldc);
  if (status != dnnl_success)
    std::terminate();  // only bad arguments can do this, and none come here
}

void multiply_as(const Product& p, double, double) {
  const auto* const a = static_cast<const double*>(p.a);
  const auto* const b = static_cast<const double*>(p.b);
  auto* const c = static_cast<double*>(p.c);
  for (std::int64_t i = 0; i < p.m; ++i) {
    double* const row = c + i * p.ldc;
    if (p.beta == 0) std::fill(row, row + p.n, 0.0);
    for (std::int64_t k = 0; k < p.k; ++k) {
      const double factor = p.transpose_a ? a[k * p.lda + i] : a[i * p.lda + k];
      if (p.transpose_b) {
        for (std::int64_t j = 0; j < p.n; ++j) row[j] += factor * b[j * p.ldb + k];
      } else {
        for (std::int64_t j = 0; j < p.n; ++j) row[j] += factor * b[k * p.ldb + j];
      }
    }
  }
}

Bf16Product bf16_product(const Product& p, float* c, std::int64_t ldc) {
  return {p.transpose_a,
          p.transpose_b,
          p.m,
          p.n,
          p.k,
          static_cast<const BFloat16*>(p.a),
          p.lda,
          static_cast<const BFloat16*>(p.b),
          p.ldb,
          c,
          ldc};
}

/// fp32 sums go to C, rounded where C is bf16, and added to it where asked.
template <class C>
void multiply_as(const Product& p, BFloat16, C) {
  if constexpr (std::is_same_v<C, float>) {
    if (p.beta == 0) return multiply(bf16_product(p, static_cast<float*>(p.c), p.ldc));
  }
  std::vector<float> sums(static_cast<std::size_t>(p.m * p.n));
  multiply(bf16_product(p, sums.data(), p.n));
  with_best_instructions([&]() GSPLIT_INLINE_BODY {
    for (std::int64_t i = 0; i < p.m; ++i) {
      const float* const from = sums.data() + i * p.n;
      C* const to = static_cast<C*>(p.c) + i * p.ldc;
      if (p.beta == 0) {
        for (std::int64_t j = 0; j < p.n; ++j) to[j] = narrowed<C>(from[j]);
      } else {
        for (std::int64_t j = 0; j < p.n; ++j) to[j] = narrowed<C>(widened(to[j]) + from[j]);
      }
    }
  });
}

/// `part` of a product, on the calling thread.
template <class S, class C>
void multiply(const Product& part) {
  if (is_thin(part)) return multiply_thin<S, C>(part);
  multiply_as(part, S{}, C{});
}

Product product_of(const GemmArgs& args) {
  const std::int64_t m = args.transpose_a ? args.a.cols : args.a.rows;
  const std::int64_t k = args.transpose_a ? args.a.rows : args.a.cols;
  const std::int64_t n = args.transpose_b ? args.b.rows : args.b.cols;
  GSPLIT_CHECK(k == (args.transpose_b ? args.b.cols : args.b.rows));
  GSPLIT_CHECK(args.c.rows == m && args.c.cols == n);
  return {args.transpose_a,
          args.transpose_b,
          m,
          n,
          k,
          args.a.data,
          args.a.stride,
          args.b.data,
          args.b.stride,
          args.c.data,
          args.c.stride,
          args.accumulate ? 1.0f : 0.0f};
}

/// A as stored, or B transposed: rows of C are independent.
template <class S, class C>
void by_rows(const Product& whole, const Team& team) {
  for_ranges(team, whole.m, row_chunk(whole.m), [&](std::int64_t begin, std::int64_t end) {
    Product part = whole;
    part.m = end - begin;
    part.a = static_cast<const S*>(whole.a) + begin * whole.lda;
    part.c = static_cast<C*>(whole.c) + begin * whole.ldc;
    multiply<S, C>(part);
  });
}

template <class C>
void zero(const Product& p) {
  for (std::int64_t i = 0; i < p.m; ++i) {
    std::fill_n(static_cast<C*>(p.c) + i * p.ldc, p.n, C{});
  }
}

/// A transposed (weight gradients): a long sum over the rows of A and B, cut into partial products
/// of C's size that are added in order.
template <class S, class C>
void by_depth(const Product& whole, Memory& memory, const Team& team) {
  using T = compute_type<S>;
  const std::int64_t chunk = depth_chunk(whole.k);
  const std::int64_t partials = num_chunks(whole.k, chunk);
  if (partials == 1) return multiply<S, C>(whole);
  const std::int64_t size = whole.m * whole.n;
  Buffer<T> sums(memory, static_cast<std::size_t>(partials * size));
  for_chunks(team, whole.k, chunk, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
    Product part = whole;
    part.k = end - begin;
    part.a = static_cast<const S*>(whole.a) + begin * whole.lda;
    part.b = static_cast<const S*>(whole.b) + begin * whole.ldb;
    part.c = sums.data() + index * size;
    part.ldc = whole.n;
    part.beta = 0;
    multiply<S, T>(part);
  });
  if (whole.beta == 0) zero<C>(whole);
  for_ranges(team, whole.m, 16, [&](std::int64_t begin, std::int64_t end) {
    WorkRow<C> work(whole.n);
    for (std::int64_t i = begin; i < end; ++i) {
      C* const row = static_cast<C*>(whole.c) + i * whole.ldc;
      T* const out = work.load(row);
      for (std::int64_t s = 0; s < partials; ++s) {
        const T* const from = sums.data() + s * size + i * whole.n;
        for (std::int64_t j = 0; j < whole.n; ++j) out[j] += from[j];
      }
      work.store(row);
    }
  });
}

/// Calls `f` with the types of the operands and of the result.
template <class F>
void dispatch_product(DType rows, DType result, F&& f) {
  if (rows == DType::kBF16 && result == DType::kF32) {
    f(BFloat16{}, float{});
  } else {
    dispatch_rows(rows, [&](auto type) { f(type, type); });
  }
}

}  // namespace

std::int64_t depth_chunk(std::int64_t rows) {
  return std::max(kMinChunk, num_chunks(rows, kMaxPartials));
}

void multiply_part(const Product& part, DType rows, DType result) {
  dispatch_product(rows, result, [&](auto row_type, auto result_type) {
    multiply<decltype(row_type), decltype(result_type)>(part);
  });
}

void gemm(const GemmArgs& args, Memory& memory, const Team& team) {
  const DType rows = args.a.dtype, result = args.c.dtype;
  GSPLIT_CHECK(args.b.dtype == rows && (result == rows || result == compute_dtype(rows)));
  dispatch_product(rows, result, [&](auto row_type, auto result_type) {
    using S = decltype(row_type);
    using C = decltype(result_type);
    const Product product = product_of(args);
    if (product.m == 0 || product.n == 0) return;
    if (product.k == 0) {
      if (!args.accumulate) zero<C>(product);
      return;
    }
    if (product.transpose_a) {
      // A transposed B would need column offsets in by_depth; no layer asks for it.
      GSPLIT_CHECK(!product.transpose_b);
      by_depth<S, C>(product, memory, team);
    } else {
      by_rows<S, C>(product, team);
    }
  });
}

}  // namespace gsplit::cpu
