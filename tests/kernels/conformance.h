// The conformance suite's fixture: runs an op on every backend present, in fp32 and fp64, with
// several numbers of threads, and holds the results against a plain double-precision reference.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

#include "kernels/backend.h"

namespace gsplit::test {

using Rows = std::vector<std::vector<double>>;

struct Csr {
  std::vector<RowIndex> indptr{0};
  std::vector<RowIndex> columns;
};

inline Csr random_csr(std::size_t rows, std::size_t cols, std::size_t max_degree,
                      std::mt19937_64& random) {
  Csr csr;
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t d = random() % (max_degree + 1); d > 0; --d) {
      csr.columns.push_back(static_cast<RowIndex>(random() % cols));
    }
    csr.indptr.push_back(static_cast<RowIndex>(csr.columns.size()));
  }
  return csr;
}

inline Rows zeros(std::size_t rows, std::size_t cols) {
  return Rows(rows, std::vector<double>(cols));
}

/// Two backends of one device with different numbers of threads, and the dtype under test.
class Conformance : public testing::TestWithParam<DType> {
 protected:
  static constexpr int kThreads[] = {1, 3};

  DType dtype() const { return GetParam(); }
  virtual double tolerance() const { return dtype() == DType::kF64 ? 1e-12 : 2e-5; }

  Rows random_rows(std::size_t rows, std::size_t cols) {
    std::uniform_real_distribution<double> uniform(-1, 1);
    Rows values(rows, std::vector<double>(cols));
    for (auto& row : values) {
      // Values that both precisions hold exactly, so that only arithmetic differs.
      for (double& x : row) x = static_cast<float>(uniform(random_));
    }
    return values;
  }

  Matrix to_matrix(const Rows& values, std::size_t cols, Backend& backend) const {
    Matrix matrix(backend.memory(), dtype(), static_cast<std::int64_t>(values.size()),
                  static_cast<std::int64_t>(cols));
    dispatch_compute(dtype(), [&](auto type) {
      using T = decltype(type);
      for (std::size_t i = 0; i < values.size(); ++i) {
        for (std::size_t c = 0; c < cols; ++c) {
          matrix.view().row<T>(static_cast<std::int64_t>(i))[c] = static_cast<T>(values[i][c]);
        }
      }
    });
    return matrix;
  }

  static Rows to_rows(ConstMatrixView view) {
    Rows values(static_cast<std::size_t>(view.rows));
    dispatch_compute(view.dtype, [&](auto type) {
      using T = decltype(type);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const T* const row = view.row<T>(static_cast<std::int64_t>(i));
        values[i].assign(row, row + view.cols);
      }
    });
    return values;
  }

  void expect_near(const Rows& actual, const Rows& expected) const {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      for (std::size_t c = 0; c < actual[i].size(); ++c) {
        ASSERT_NEAR(actual[i][c], expected[i][c], tolerance() * (1 + std::abs(expected[i][c])))
            << "row " << i << " column " << c;
      }
    }
  }

  /// Runs `op(backend, stream)` -> Matrix with each number of threads; the results must be equal to
  /// the bit and near `expected`.
  template <class Op>
  void check(const Rows& expected, Op op) {
    Rows first;
    for (int threads : kThreads) {
      const auto backend = make_cpu_backend(threads);
      const auto stream = backend->memory().create_stream();
      Matrix result = op(*backend, *stream);
      stream->synchronize();
      const Rows rows = to_rows(result.view());
      expect_near(rows, expected);
      if (first.empty()) first = rows;
      EXPECT_EQ(rows, first) << "differs with " << threads << " threads";
    }
  }

  /// Rows of `stored`, repeated over odd and even widths, gather to their exact values.
  template <class T>
  void check_widening(const std::vector<T>& stored, const std::vector<double>& meaning) {
    for (const std::size_t cols : {1, 4, 7, 64, 101}) {
      const std::size_t count = 40;
      std::vector<T> table(count * cols);
      for (std::size_t i = 0; i < table.size(); ++i) table[i] = stored[i % stored.size()];
      std::vector<RowIndex> rows;
      Rows expected;
      for (int i = 0; i < 1500; ++i) {
        rows.push_back(static_cast<RowIndex>(random_() % count));
        expected.emplace_back(cols);
        for (std::size_t c = 0; c < cols; ++c) {
          expected.back()[c] = meaning[(rows.back() * cols + c) % stored.size()];
        }
      }
      const ConstMatrixView source{
          table.data(), dtype_of<T>::value, static_cast<std::int64_t>(count),
          static_cast<std::int64_t>(cols), static_cast<std::int64_t>(cols)};
      check(expected, [&](Backend& backend, Stream& stream) {
        Matrix to(backend.memory(), dtype(), 1500, static_cast<std::int64_t>(cols));
        backend.sparse().gather_rows({source, rows, to.view()}, stream);
        EXPECT_EQ(to_rows(to.view()), expected) << "widening is exact";
        return to;
      });
    }
  }

  /// In [0, 2), a tenth of them 0.
  std::vector<float> random_weights(std::size_t edges) {
    std::vector<float> weights(edges);
    for (float& weight : weights) {
      weight = random_() % 10 == 0 ? 0 : static_cast<float>(random_() % 1024) / 512;
    }
    return weights;
  }

  void check_aggregate(std::size_t cols, const AggregateOptions& options, bool weighted = false) {
    Csr csr = random_csr(300, 500, 12, random_);
    for (RowIndex i = 0; i < 300; i += 3) {  // some loops
      if (csr.indptr[i] < csr.indptr[i + 1]) csr.columns[csr.indptr[i]] = i;
    }
    const std::vector<float> weights =
        weighted ? random_weights(csr.columns.size()) : std::vector<float>{};
    const Rows source = random_rows(500, cols), gradient = random_rows(300, cols);
    Rows forward = zeros(300, cols), backward = zeros(500, cols);
    const auto edge = [&](std::size_t i, std::size_t j, double weight) {
      for (std::size_t c = 0; c < cols; ++c) {
        forward[i][c] += weight * source[j][c];
        backward[j][c] += weight * gradient[i][c];
      }
    };
    for (std::size_t i = 0; i < 300; ++i) {
      const double length = csr.indptr[i + 1] - csr.indptr[i];
      const double scale = (options.reduce == Reduce::kMean ? 1 / length : 1) *
                           (options.row_scale.empty() ? 1 : options.row_scale[i]);
      for (RowIndex e = csr.indptr[i]; e < csr.indptr[i + 1]; ++e) {
        const double weight = weighted ? scale * weights[e] : scale;
        if (!options.skip_loops || csr.columns[e] != i) edge(i, csr.columns[e], weight);
      }
      if (!options.self_scale.empty()) edge(i, i, options.self_scale[i]);
    }
    check(forward, [&](Backend& backend, Stream& stream) {
      const Matrix from = to_matrix(source, cols, backend);
      Matrix to(backend.memory(), dtype(), 300, static_cast<std::int64_t>(cols));
      backend.sparse().aggregate(
          {csr.indptr, csr.columns, from.view(), to.view(), options, weights}, stream);
      return to;
    });
    check(backward, [&](Backend& backend, Stream& stream) {
      const Matrix from = to_matrix(gradient, cols, backend);
      Matrix to(backend.memory(), dtype(), 500, static_cast<std::int64_t>(cols));
      const InverseCsr inverse = backend.sampling().invert(csr.indptr, csr.columns, 500, stream);
      backend.sparse().aggregate_backward(
          {csr.indptr, inverse.indptr.span(), inverse.destinations.span(), from.view(), to.view(),
           options, weights, inverse.edges.span()},
          stream);
      return to;
    });
  }

  std::mt19937_64 random_{12345};
};

}  // namespace gsplit::test
