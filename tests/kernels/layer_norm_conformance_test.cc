// Layer normalisation and its gradients against a plain double-precision reference.
#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

class LayerNormConformance : public Conformance {
 protected:
  static constexpr std::size_t kRows = 1500, kCols = 19;

  /// Forward and backward in double: output, gradient of the input, of the weight, of the shift.
  struct Reference {
    Rows output = zeros(kRows, kCols), input = zeros(kRows, kCols);
    Rows weight = zeros(1, kCols), shift = zeros(1, kCols);
  };
  Reference reference() const {
    Reference result;
    for (std::size_t i = 0; i < kRows; ++i) {
      double mean = 0, variance = 0, g_mean = 0, g_projection = 0;
      std::vector<double> n(kCols), g(kCols);
      for (std::size_t c = 0; c < kCols; ++c) mean += (values[i][c] + bias[0][c]) / kCols;
      for (std::size_t c = 0; c < kCols; ++c) {
        variance += std::pow(values[i][c] + bias[0][c] - mean, 2) / kCols;
      }
      const double sigma = std::sqrt(variance + 1e-5);
      for (std::size_t c = 0; c < kCols; ++c) {
        n[c] = (values[i][c] + bias[0][c] - mean) / sigma;
        result.output[i][c] = n[c] * weight[0][c] + shift[0][c];
        result.weight[0][c] += upstream[i][c] * n[c];
        result.shift[0][c] += upstream[i][c];
        g[c] = upstream[i][c] * weight[0][c];
        g_mean += g[c] / kCols;
        g_projection += g[c] * n[c] / kCols;
      }
      for (std::size_t c = 0; c < kCols; ++c) {
        result.input[i][c] = (g[c] - g_mean - n[c] * g_projection) / sigma;
      }
    }
    return result;
  }

  enum class Result { kOutput, kInput, kWeight, kShift };
  Matrix run(Result which, Backend& backend, Stream& stream) const {
    Matrix x = to_matrix(values, kCols), g = to_matrix(upstream, kCols);
    const Matrix b = to_matrix(bias, kCols, computed()), w = to_matrix(weight, kCols, computed());
    const Matrix s = to_matrix(shift, kCols, computed());
    Matrix n(backend.memory(), dtype(), kRows, kCols);
    Matrix sigma(backend.memory(), computed(), kRows, 1);
    Matrix w_gradient(backend.memory(), computed(), 1, kCols);
    Matrix s_gradient(backend.memory(), computed(), 1, kCols);
    backend.dense().layer_norm({x.view(), b.view(), w.view(), s.view(), n.view(), sigma.view()},
                               stream);
    backend.dense().layer_norm_backward(
        {g.view(), n.view(), sigma.view(), w.view(), w_gradient.view(), s_gradient.view()}, stream);
    switch (which) {
      case Result::kOutput:
        return x;
      case Result::kInput:
        return g;
      case Result::kWeight:
        return w_gradient;
      default:
        return s_gradient;
    }
  }

  /// The gradients read what forward has rounded to dtype().
  double tolerance(DType) const override { return Conformance::tolerance(dtype()); }

  Rows values = random_rows(kRows, kCols), upstream = random_rows(kRows, kCols);
  Rows bias = random_rows(1, kCols), weight = random_rows(1, kCols), shift = random_rows(1, kCols);
};

TEST_P(LayerNormConformance, ForwardAndGradients) {
  const Reference expected = reference();
  for (const auto& [which, rows] :
       {std::pair{Result::kOutput, expected.output}, std::pair{Result::kInput, expected.input},
        std::pair{Result::kWeight, expected.weight}, std::pair{Result::kShift, expected.shift}}) {
    const double magnitude = which == Result::kWeight ? std::sqrt(kRows) : 1;
    const auto op = [&, which = which](Backend& backend, Stream& stream) {
      return run(which, backend, stream);
    };
    check(rows, op, magnitude);
  }
}

TEST_P(LayerNormConformance, Add) {
  Rows sum = values;
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t c = 0; c < kCols; ++c) sum[i][c] += upstream[i][c];
  }
  check(sum, [&](Backend& backend, Stream& stream) {
    const Matrix source = to_matrix(upstream, kCols);
    Matrix destination = to_matrix(values, kCols);
    backend.dense().add({source.view(), destination.view()}, stream);
    return destination;
  });
}

INSTANTIATE_TEST_SUITE_P(Types, LayerNormConformance, testing::ValuesIn(row_types()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
