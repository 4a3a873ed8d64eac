// Optimizers, clipping and feature normalisation against plain double-precision references; the
// formulas are those of torch.optim, torch.nn.utils.clip_grad_norm_ and PyG's NormalizeFeatures.
#include <limits>

#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

constexpr std::size_t kSize = 40000;  // more than two chunks

class OptimizerConformance : public Conformance {
 protected:
  std::vector<Rows> random_gradients() {
    return {random_rows(1, kSize), random_rows(1, kSize), random_rows(1, kSize)};
  }
};

TEST_P(OptimizerConformance, AdamW) {
  const Rows start = random_rows(1, kSize);
  const std::vector<Rows> gradients = random_gradients();
  Rows w = start, m = zeros(1, kSize), v = zeros(1, kSize);
  for (std::size_t t = 1; t <= gradients.size(); ++t) {
    const double steps = static_cast<double>(t);
    for (std::size_t i = 0; i < kSize; ++i) {
      const double g = gradients[t - 1][0][i];
      w[0][i] *= 1 - 0.02 * 0.3;
      m[0][i] = 0.9 * m[0][i] + 0.1 * g;
      v[0][i] = 0.999 * v[0][i] + 0.001 * g * g;
      w[0][i] -= 0.02 * (m[0][i] / (1 - std::pow(0.9, steps))) /
                 (std::sqrt(v[0][i] / (1 - std::pow(0.999, steps))) + 1e-8);
    }
  }
  check(w, [&](Backend& backend, Stream& stream) {
    Matrix parameters = to_matrix(start, kSize);
    Matrix first = to_matrix(zeros(1, kSize), kSize);
    Matrix second = to_matrix(zeros(1, kSize), kSize);
    for (std::size_t t = 1; t <= gradients.size(); ++t) {
      const Matrix gradient = to_matrix(gradients[t - 1], kSize);
      backend.optimizer().adam({.parameters = parameters.view(),
                                .gradients = gradient.view(),
                                .first_moment = first.view(),
                                .second_moment = second.view(),
                                .step = static_cast<std::int64_t>(t),
                                .learning_rate = 0.02,
                                .weight_decay = 0.3,
                                .decoupled = true},
                               stream);
    }
    return parameters;
  });
}

TEST_P(OptimizerConformance, Sgd) {
  for (double momentum : {0.0, 0.9}) {
    const Rows start = random_rows(1, kSize);
    const std::vector<Rows> gradients = random_gradients();
    Rows w = start, velocity = zeros(1, kSize);
    for (const Rows& gradient : gradients) {
      for (std::size_t i = 0; i < kSize; ++i) {
        velocity[0][i] = momentum * velocity[0][i] + gradient[0][i] + 0.1 * w[0][i];
        w[0][i] -= 0.05 * velocity[0][i];
      }
    }
    check(w, [&](Backend& backend, Stream& stream) {
      Matrix parameters = to_matrix(start, kSize);
      Matrix buffer = momentum == 0 ? Matrix() : to_matrix(zeros(1, kSize), kSize);
      for (const Rows& rows : gradients) {
        const Matrix gradient = to_matrix(rows, kSize);
        backend.optimizer().sgd({.parameters = parameters.view(),
                                 .gradients = gradient.view(),
                                 .velocity = buffer.view(),
                                 .learning_rate = 0.05,
                                 .momentum = momentum,
                                 .weight_decay = 0.1},
                                stream);
      }
      return parameters;
    });
  }
}

TEST_P(OptimizerConformance, SquaredNormAndScale) {
  for (std::size_t cols : {std::size_t{0}, std::size_t{1}, kSize}) {
    const Rows values = random_rows(3, cols);
    double sum = 0;
    Rows scaled = values;
    for (auto& row : scaled) {
      for (double& x : row) {
        sum += x * x;
        x *= 0.37;
      }
    }
    double first = -1;
    check(scaled, [&](Backend& backend, Stream& stream) {
      Matrix matrix = to_matrix(values, cols);
      const double norm = backend.optimizer().squared_norm(matrix.view(), stream);
      EXPECT_NEAR(norm, sum, 1e-12 * (1 + sum));
      if (first < 0) first = norm;
      EXPECT_EQ(norm, first) << "the threads change the sum";
      backend.optimizer().scale(matrix.view(), 0.37, stream);
      return matrix;
    });
  }
}

TEST_P(OptimizerConformance, SquaredNormShowsWhatIsNotFinite) {
  for (double bad :
       {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    Rows values = random_rows(2, kSize);
    values[1][777] = bad;
    const Matrix matrix = to_matrix(values, kSize);
    EXPECT_FALSE(std::isfinite(backend().optimizer().squared_norm(matrix.view(), stream())));
  }
}

TEST_P(OptimizerConformance, NormalizeRows) {
  Rows values = random_rows(1100, 9);
  values[5].assign(9, -1.25);    // the smallest everywhere: 0 over 1
  values[6].assign(9, -1.125);   // a sum of 9 / 8
  values[7].assign(9, -1.1875);  // below 1: only shifted
  Rows expected = values;
  for (auto& row : expected) {
    double sum = 0;
    for (double& x : row) sum += x += 1.25;
    for (double& x : row) x /= std::max(sum, 1.0);
  }
  check(expected, [&](Backend& backend, Stream& stream) {
    Matrix matrix = to_matrix(values, 9);
    EXPECT_EQ(backend.dense().smallest(matrix.view(), stream), -1.25);
    backend.dense().normalize_rows({matrix.view(), -1.25}, stream);
    return matrix;
  });
}

TEST_P(OptimizerConformance, SmallestOfHalvesAndOfNothing) {
  const std::vector<Half> half{{0x3C00}, {0xC000}, {0x3555}, {0x0001}};  // 1, -2, about 1/3, 2^-24
  const DeviceArray<Half> values = to_device(half);
  EXPECT_EQ(backend().dense().smallest({values.span().data(), DType::kF16, 2, 2, 2}, stream()), -2);
  const std::vector<BFloat16> brain{{0x3F80}, {0xC040}, {0x3EAB}, {0x0001}};  // 1, -3, 1/3, 2^-133
  const DeviceArray<BFloat16> wide = to_device(brain);
  EXPECT_EQ(backend().dense().smallest({wide.span().data(), DType::kBF16, 2, 2, 2}, stream()), -3);
  EXPECT_EQ(backend().dense().smallest({}, stream()), std::numeric_limits<double>::infinity());
}

INSTANTIATE_TEST_SUITE_P(Types, OptimizerConformance, testing::Values(DType::kF32, DType::kF64),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
