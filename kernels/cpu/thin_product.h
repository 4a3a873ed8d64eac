// Products of a long matrix with a few rows or columns, such as attention's logits and their
// gradients: bound by reading the long matrix, which happens once. Blocked products, made for
// matrices that are thick on every side, take several times as long.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/cpu/product.h"
#include "kernels/cpu/weighted_rows.h"
#include "kernels/cpu/work_row.h"

namespace gsplit::cpu {

inline constexpr std::int64_t kThin = 8;  // rows or columns, at most

inline bool is_thin(const Product& p) {
  return p.transpose_a ? p.m <= kThin : std::min(p.n, p.k) <= kThin;
}

/// The small matrix B with rows that are contiguous: as stored or, with `transposed`, its
/// transpose.
template <class T, class S>
std::vector<T> small_rows(const S* b, std::int64_t ldb, std::int64_t rows, std::int64_t cols,
                          bool transposed) {
  std::vector<T> copy(static_cast<std::size_t>(rows * cols));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      copy[static_cast<std::size_t>(r * cols + c)] =
          narrowed<T>(widened(transposed ? b[c * ldb + r] : b[r * ldb + c]));
    }
  }
  return copy;
}

/// Few columns of C: each is a dot product of a row of A.
template <class S, class C>
void multiply_to_few_columns(const Product& p) {
  using T = compute_type<S>;
  const auto* const a = static_cast<const S*>(p.a);
  // As rows of S, so that both operands of a dot product are read alike; exact, for they were.
  const std::vector<S> columns =
      small_rows<S>(static_cast<const S*>(p.b), p.ldb, p.n, p.k, !p.transpose_b);
  with_best_instructions([&]() GSPLIT_INLINE_BODY {
    T dots[kThin];
    for (std::int64_t i = 0; i < p.m; ++i) {
      C* const row = static_cast<C*>(p.c) + i * p.ldc;
      dots_of(columns.data(), a + i * p.lda, 0, p.k, p.n, dots);
      for (std::int64_t j = 0; j < p.n; ++j) {
        row[j] = narrowed<C>(p.beta == 0 ? dots[j] : widened(row[j]) + dots[j]);
      }
    }
  });
}

/// Few rows of B: each row of C is a weighted sum of them.
template <class S, class C>
void multiply_few_rows(const Product& p) {
  using T = compute_type<S>;
  const auto* const a = static_cast<const S*>(p.a);
  const std::vector<T> rows =
      small_rows<T>(static_cast<const S*>(p.b), p.ldb, p.k, p.n, p.transpose_b);
  with_best_instructions([&]() GSPLIT_INLINE_BODY {
    WorkRow<C> work(p.n);
    for (std::int64_t i = 0; i < p.m; ++i) {
      C* const row = static_cast<C*>(p.c) + i * p.ldc;
      T* const out = p.beta == 0 ? work.room(row) : work.load(row);
      if (p.beta == 0) std::fill_n(out, p.n, T{0});
      for (std::int64_t k = 0; k < p.k; ++k) {
        const T factor = widened(a[i * p.lda + k]);
        const T* const from = rows.data() + k * p.n;
        for (std::int64_t j = 0; j < p.n; ++j) out[j] += factor * from[j];
      }
      work.store(row);
    }
  });
}

/// Few rows of C, A transposed: each is a weighted sum of B's many rows. Rows that stay in the L1
/// cache while every column of C has read them are summed at a time.
template <class S, class C>
void sum_to_few_rows(const Product& p) {
  using T = compute_type<S>;
  constexpr std::int64_t kRows = 32;
  const auto* const a = static_cast<const S*>(p.a);
  const auto* const b = static_cast<const S*>(p.b);
  std::vector<T> total(static_cast<std::size_t>(p.m * p.n)), sum(total.size());
  with_best_instructions([&]() GSPLIT_INLINE_BODY {
    const S* rows[kRows];
    T weights[kRows * kThin];
    for (std::int64_t begin = 0; begin < p.k; begin += kRows) {
      const std::int64_t count = std::min(kRows, p.k - begin);
      for (std::int64_t i = 0; i < count; ++i) {
        rows[i] = b + (begin + i) * p.ldb;
        for (std::int64_t r = 0; r < p.m; ++r) {
          weights[i * p.m + r] = widened(a[(begin + i) * p.lda + r]);
        }
      }
      sum_rows_of<S>({rows, weights, static_cast<std::size_t>(count), p.m, 0}, p.n, sum.data());
      for (std::size_t at = 0; at < total.size(); ++at) total[at] += sum[at];
    }
  });
  for (std::int64_t r = 0; r < p.m; ++r) {
    C* const row = static_cast<C*>(p.c) + r * p.ldc;
    for (std::int64_t j = 0; j < p.n; ++j) {
      const T value = total[static_cast<std::size_t>(r * p.n + j)];
      row[j] = narrowed<C>(p.beta == 0 ? value : widened(row[j]) + value);
    }
  }
}

/// REQUIRES: is_thin(p). Accumulates in the computed type.
template <class S, class C>
void multiply_thin(const Product& p) {
  if (p.transpose_a) return sum_to_few_rows<S, C>(p);
  if (p.n <= kThin) return multiply_to_few_columns<S, C>(p);
  multiply_few_rows<S, C>(p);
}

}  // namespace gsplit::cpu
