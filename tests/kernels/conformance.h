// The conformance suite's fixture: runs an op on the devices of tests/kernels/devices.h, in fp32,
// fp64 and bf16, and holds the results against a plain double-precision reference of the same
// inputs.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

#include "kernels/backend.h"
#include "kernels/transfer.h"
#include "tests/kernels/devices.h"

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

/// The devices, of which one is in use at a time, and the dtype under test.
class Conformance : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    const std::string reason = why_no_devices();
    if (!reason.empty()) GTEST_SKIP() << reason;
    devices_ = make_devices();
    device_ = &devices_.front();
  }

  /// Of the device in use.
  Backend& backend() const { return device_->backend(); }
  Stream& stream() const { return device_->stream(); }
  Memory& memory() const { return backend().memory(); }

  /// A host array for an op to read.
  template <class T>
  DeviceArray<T> to_device(std::span<const T> host) const {
    return {host, memory(), stream()};
  }
  template <class T>
  DeviceArray<T> to_device(const std::vector<T>& host) const {
    return to_device(std::span<const T>(host));
  }

  /// The inverse as SamplingOps::invert() makes it, where the device in use reads it.
  InverseCsr invert(const Csr& csr, std::size_t columns) const {
    const InverseCsr host =
        device_->host().sampling().invert(csr.indptr, csr.columns, columns, stream());
    const auto copy = [&](const Buffer<RowIndex>& from) {
      Buffer<RowIndex> to(memory(), from.size());
      memory().copy(to.data(), from.data(), from.size() * sizeof(RowIndex), stream());
      return to;
    };
    return {copy(host.indptr), copy(host.destinations), copy(host.edges)};
  }

  DType dtype() const { return GetParam(); }
  /// Of weights, logits and sums beside rows of dtype().
  DType computed() const { return compute_dtype(dtype()); }
  /// Of a result of type `of`. One rounding to bf16 is half of its.
  virtual double tolerance(DType of) const {
    if (of == DType::kBF16) return 0x1p-8;
    return of == DType::kF64 ? 1e-12 : 2e-5;
  }
  /// What a row of `of` holds for x.
  static double rounded(double x, DType of) {
    double result = 0;
    dispatch_rows(of, [&](auto type) {
      result = widened(narrowed<decltype(type)>(static_cast<compute_type<decltype(type)>>(x)));
    });
    return result;
  }

  Rows random_rows(std::size_t rows, std::size_t cols) { return random_rows(rows, cols, dtype()); }
  /// Values that `of` and fp32 hold exactly, so that only arithmetic differs.
  Rows random_rows(std::size_t rows, std::size_t cols, DType of) {
    std::uniform_real_distribution<double> uniform(-1, 1);
    Rows values(rows, std::vector<double>(cols));
    for (auto& row : values) {
      for (double& x : row) {
        x = rounded(uniform(random_), of == DType::kBF16 ? of : DType::kF32);
      }
    }
    return values;
  }

  Matrix to_matrix(const Rows& values, std::size_t cols) const {
    return to_matrix(values, cols, dtype());
  }
  Matrix to_matrix(const Rows& values, std::size_t cols, DType as) const {
    Matrix matrix(memory(), as, static_cast<std::int64_t>(values.size()),
                  static_cast<std::int64_t>(cols));
    dispatch_rows(as, [&](auto type) {
      using T = decltype(type);
      std::vector<T> host;
      for (const std::vector<double>& row : values) {
        for (std::size_t c = 0; c < cols; ++c) {
          host.push_back(narrowed<T>(static_cast<compute_type<T>>(row[c])));
        }
      }
      upload(std::as_bytes(std::span(host)), matrix.view(), memory(), stream());
    });
    return matrix;
  }

  Rows to_rows(ConstMatrixView view) const {
    const std::vector<std::byte> host = download(view, memory(), stream());
    Rows values(static_cast<std::size_t>(view.rows));
    dispatch_rows(view.dtype, [&](auto type) {
      const auto* at = reinterpret_cast<const decltype(type)*>(host.data());
      for (std::vector<double>& to : values) {
        for (std::int64_t c = 0; c < view.cols; ++c) to.push_back(widened(*at++));
      }
    });
    return values;
  }

  void expect_near(const Rows& actual, const Rows& expected, double magnitude, DType of) const {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      for (std::size_t c = 0; c < actual[i].size(); ++c) {
        ASSERT_NEAR(actual[i][c], expected[i][c],
                    tolerance(of) * (magnitude + std::abs(expected[i][c])))
            << "row " << i << " column " << c;
      }
    }
  }

  /// Runs `op(backend, stream)` -> Matrix on each device; the results must be equal to the bit and
  /// near `expected`, whose elements come about as sums of about `magnitude`.
  template <class Op>
  void check(const Rows& expected, Op op, double magnitude = 1) {
    Rows first;
    for (Device& device : devices_) {
      device_ = &device;
      const Matrix result = op(backend(), stream());
      const Rows rows = to_rows(result.view());
      expect_near(rows, expected, magnitude, result.dtype());
      if (first.empty()) first = rows;
      EXPECT_EQ(rows, first) << "differs on " << device.name();
    }
  }

  template <class Body>
  void for_each_device(Body body) {
    for (Device& device : devices_) {
      device_ = &device;
      body();
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
          expected.back()[c] = rounded(meaning[(rows.back() * cols + c) % stored.size()], dtype());
        }
      }
      check(expected, [&](Backend& backend, Stream& stream) {
        const DeviceArray<T> from = to_device(table);
        Matrix to(backend.memory(), dtype(), 1500, static_cast<std::int64_t>(cols));
        const ConstMatrixView source{
            from.span().data(), dtype_of<T>::value, static_cast<std::int64_t>(count),
            static_cast<std::int64_t>(cols), static_cast<std::int64_t>(cols)};
        backend.sparse().gather_rows({source, to_device(rows).span(), to.view()}, stream);
        EXPECT_EQ(to_rows(to.view()), expected) << "exact where it is wider";
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

  /// Both on the device in use; the arrays of `options` lie in host memory.
  struct Part {
    RowRange only = {};
    ConstMatrixView before = {};
  };
  Matrix aggregate(const Csr& csr, const Matrix& source, AggregateOptions options,
                   const std::vector<float>& weights) const {
    return aggregate(csr, source, options, weights, {});
  }
  Matrix aggregate(const Csr& csr, const Matrix& source, AggregateOptions options,
                   const std::vector<float>& weights, const Part& part) const {
    const DeviceArray<double> row_scale = to_device(options.row_scale);
    const DeviceArray<double> self_scale = to_device(options.self_scale);
    options.row_scale = row_scale.span();
    options.self_scale = self_scale.span();
    Matrix to(memory(), dtype(), static_cast<std::int64_t>(csr.indptr.size()) - 1, source.cols());
    backend().sparse().aggregate(
        {to_device(csr.indptr).span(), to_device(csr.columns).span(), source.view(), to.view(),
         options, to_device(weights).span(), part.only, part.before},
        stream());
    return to;
  }
  /// Sources from `split` on first, those before it by a call of their own; 0: all at once.
  Matrix aggregate_backward(const Csr& csr, std::size_t sources, const Matrix& gradient,
                            AggregateOptions options, const std::vector<float>& weights,
                            std::size_t split = 0) const {
    const DeviceArray<double> row_scale = to_device(options.row_scale);
    const DeviceArray<double> self_scale = to_device(options.self_scale);
    options.row_scale = row_scale.span();
    options.self_scale = self_scale.span();
    const InverseCsr inverse = invert(csr, sources);
    Matrix to(memory(), dtype(), static_cast<std::int64_t>(sources), gradient.cols());
    const auto indptr = to_device(csr.indptr);
    const auto edge_weights = to_device(weights);
    AggregateBackwardArgs args{indptr.span(),
                               inverse.indptr.span(),
                               inverse.destinations.span(),
                               gradient.view(),
                               to.view(),
                               options,
                               edge_weights.span(),
                               inverse.edges.span()};
    if (split > 0) {
      const auto own = static_cast<std::int64_t>(split);
      args.some_sources = true;
      args.inverse_indptr = inverse.indptr.span().subspan(split);
      args.source_gradient = to.view().slice(own, to.rows() - own);
      args.options.self_scale = {};
      args.options.skip_loops = false;
      backend().sparse().aggregate_backward(args, stream());
      args.inverse_indptr = inverse.indptr.span().first(split + 1);
      args.source_gradient = to.view().slice(0, own);
      args.options = options;
    }
    backend().sparse().aggregate_backward(args, stream());
    return to;
  }

  /// What aggregate() and, where they are given, aggregate_backward() of `gradient` are.
  struct Reference {
    Rows forward;
    Rows backward;
  };
  static Reference reference(const Csr& csr, const Rows& source, const Rows& gradient,
                             const AggregateOptions& options, const std::vector<float>& weights) {
    const std::size_t cols = source[0].size();
    Reference sums{zeros(gradient.size(), cols), zeros(source.size(), cols)};
    const auto edge = [&](std::size_t i, std::size_t j, double weight) {
      for (std::size_t c = 0; c < cols; ++c) {
        sums.forward[i][c] += weight * source[j][c];
        sums.backward[j][c] += weight * gradient[i][c];
      }
    };
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const double length = csr.indptr[i + 1] - csr.indptr[i];
      const double scale = (options.reduce == Reduce::kMean ? 1 / length : 1) *
                           (options.row_scale.empty() ? 1 : options.row_scale[i]);
      for (RowIndex e = csr.indptr[i]; e < csr.indptr[i + 1]; ++e) {
        const double weight = weights.empty() ? scale : scale * weights[e];
        if (!options.skip_loops || csr.columns[e] != i) edge(i, csr.columns[e], weight);
      }
      if (!options.self_scale.empty()) edge(i, i, options.self_scale[i]);
    }
    return sums;
  }

  void check_aggregate(std::size_t cols, const AggregateOptions& options, bool weighted = false) {
    Csr csr = random_csr(300, 500, 12, random_);
    for (RowIndex i = 0; i < 300; i += 3) {  // some loops
      if (csr.indptr[i] < csr.indptr[i + 1]) csr.columns[csr.indptr[i]] = i;
    }
    const std::vector<float> weights =
        weighted ? random_weights(csr.columns.size()) : std::vector<float>{};
    const Rows source = random_rows(500, cols), gradient = random_rows(300, cols);
    const auto [forward, backward] = reference(csr, source, gradient, options, weights);
    check(forward, [&](Backend&, Stream&) {
      const Matrix from = to_matrix(source, cols);
      return aggregate(csr, from, options, weights);
    });
    check(backward, [&](Backend&, Stream&) {
      const Matrix from = to_matrix(gradient, cols);
      return aggregate_backward(csr, 500, from, options, weights);
    });
  }

  std::mt19937_64 random_{12345};

 private:
  std::vector<Device> devices_;
  Device* device_ = nullptr;
};

}  // namespace gsplit::test
