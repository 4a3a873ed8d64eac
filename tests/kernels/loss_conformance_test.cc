// Both losses, with and without weights: against plain references, against finite differences, and
// where exp() would overflow.
#include <algorithm>
#include <functional>

#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

constexpr std::size_t kRows = 700, kClasses = 11;

class LossConformance : public Conformance {
 protected:
  std::vector<std::int32_t> random_classes() {
    std::vector<std::int32_t> labels;
    for (std::size_t i = 0; i < kRows; ++i) {
      labels.push_back(static_cast<std::int32_t>(random_() % kClasses));
    }
    return labels;
  }
  /// About a third of them 1.
  std::vector<std::uint8_t> random_label_rows() {
    std::vector<std::uint8_t> labels;
    for (std::size_t i = 0; i < kRows * kClasses; ++i) labels.push_back(random_() % 3 == 0);
    return labels;
  }
  /// None, or between 0 and 5 with a 0 among them.
  std::vector<double> some_weights(bool weighted) {
    if (!weighted) return {};
    std::uniform_real_distribution<double> uniform(0, 5);
    std::vector<double> weights(kClasses);
    for (double& weight : weights) weight = uniform(random_);
    weights[4] = 0;
    return weights;
  }

  /// Checks gradient and sums of `loss(backend, logits, gradient, stream)` for each number of
  /// threads.
  template <class Loss>
  void check_loss(const Rows& logits, const Rows& gradient, const LossSums& expected, Loss loss) {
    std::vector<double> losses;
    check(gradient, [&](Backend& backend, Stream& stream) {
      const Matrix input = to_matrix(logits, kClasses);
      Matrix result(backend.memory(), dtype(), kRows, kClasses);
      const LossSums sums = loss(backend, input.view(), result.view(), stream);
      EXPECT_NEAR(sums.loss, expected.loss, 1e-9 * expected.loss);
      EXPECT_EQ(sums.predictions, expected.predictions);
      EXPECT_EQ(loss(backend, input.view(), {}, stream).loss, sums.loss);  // without a gradient
      losses.push_back(sums.loss);
      return result;
    });
    for (const double sum : losses) EXPECT_EQ(sum, losses.front()) << "differs with threads";
  }
};

TEST_P(LossConformance, CrossEntropyAndItsGradient) {
  for (const bool weighted : {false, true}) {
    Rows logits = random_rows(kRows, kClasses);
    logits[3][2] = 200;  // must not overflow
    const std::vector<std::int32_t> labels = random_classes();
    const std::vector<double> weights = some_weights(weighted);
    Rows gradient = zeros(kRows, kClasses);
    LossSums expected;
    for (std::size_t i = 0; i < kRows; ++i) {
      const auto label = static_cast<std::size_t>(labels[i]);
      const double weight = weighted ? weights[label] : 1;
      const double top = *std::max_element(logits[i].begin(), logits[i].end());
      double sum = 0;
      for (const double x : logits[i]) sum += std::exp(x - top);
      for (std::size_t c = 0; c < kClasses; ++c) {
        gradient[i][c] = 0.25 * weight * (std::exp(logits[i][c] - top) / sum - (c == label));
      }
      expected.loss += weight * (std::log(sum) + top - logits[i][label]);
      const bool hit = logits[i][label] == top;
      expected.predictions += {hit, !hit, !hit};
    }
    check_loss(logits, gradient, expected,
               [&](Backend& backend, ConstMatrixView input, MatrixView result, Stream& stream) {
                 return backend.dense().cross_entropy(
                     {input, to_device(labels).span(), 0.25, result, to_device(weights).span()},
                     stream);
               });
  }
}

TEST_P(LossConformance, BinaryCrossEntropyAndItsGradient) {
  for (const bool weighted : {false, true}) {
    Rows logits = random_rows(kRows, kClasses);
    logits[5][1] = 0;  // on the boundary: not predicted
    const std::vector<std::uint8_t> labels = random_label_rows();
    const std::vector<double> weights = some_weights(weighted);
    Rows gradient = zeros(kRows, kClasses);
    LossSums expected;
    for (std::size_t i = 0; i < kRows; ++i) {
      for (std::size_t c = 0; c < kClasses; ++c) {
        const double x = logits[i][c], probability = 1 / (1 + std::exp(-x));
        const double y = labels[i * kClasses + c], weight = weighted ? weights[c] : 1;
        expected.loss -= weight * y * std::log(probability) + (1 - y) * std::log(1 - probability);
        gradient[i][c] = 0.25 * ((1 - y) * probability - weight * y * (1 - probability));
        expected.predictions += {x > 0 && y == 1, x > 0 && y == 0, x <= 0 && y == 1};
      }
    }
    check_loss(logits, gradient, expected,
               [&](Backend& backend, ConstMatrixView input, MatrixView result, Stream& stream) {
                 return backend.dense().binary_cross_entropy(
                     {input, to_device(labels).span(), to_device(weights).span(), 0.25, result},
                     stream);
               });
  }
}

TEST_P(LossConformance, BinaryCrossEntropyNeverOverflows) {
  const Rows logits{{200, -200, 1e30, -1e30}, {200, -200, 1e30, -1e30}};
  const std::vector<std::uint8_t> labels{0, 1, 1, 0, 1, 0, 0, 1};
  const std::vector<double> weights{1, 3, 1, 1};
  check({{1, -3, 0, 0}, {0, 0, 1, -1}}, [&](Backend& backend, Stream& stream) {
    const Matrix input = to_matrix(logits, 4);
    Matrix result(backend.memory(), dtype(), 2, 4);
    const LossSums sums = backend.dense().binary_cross_entropy(
        {input.view(), to_device(labels).span(), to_device(weights).span(), 1, result.view()},
        stream);
    EXPECT_NEAR(sums.loss, 2e30, 1e23);  // 200 + 3 * 200 + 1e30 + 1e30
    EXPECT_EQ(sums.predictions, (PredictionCounts{2, 2, 2}));
    return result;
  });
}

TEST_P(LossConformance, NoRowsLoseNothing) {
  const Matrix none(memory(), dtype(), 0, 4);
  EXPECT_EQ(backend().dense().cross_entropy({none.view(), {}}, stream()).loss, 0);
  const LossSums sums = backend().dense().binary_cross_entropy({none.view(), {}}, stream());
  EXPECT_EQ(sums.loss, 0);
  EXPECT_EQ(sums.predictions.f1(), 0);
}

INSTANTIATE_TEST_SUITE_P(Types, LossConformance, testing::Values(DType::kF32, DType::kF64),
                         [](const auto& info) { return name_of(info.param); });

/// The gradient of `loss` at each of `logits` is its central difference.
void expect_finite_differences(
    Rows logits, const std::function<double(const Rows&, std::vector<double>* gradient)>& loss) {
  constexpr double kStep = 1e-6;
  std::vector<double> gradient;
  loss(logits, &gradient);
  std::size_t at = 0;
  for (auto& row : logits) {
    for (double& x : row) {
      const double saved = x;
      x = saved + kStep;
      const double above = loss(logits, nullptr);
      x = saved - kStep;
      const double below = loss(logits, nullptr);
      x = saved;
      EXPECT_NEAR(gradient[at], (above - below) / (2 * kStep), 1e-8) << "element " << at;
      ++at;
    }
  }
}

class LossGradient : public Conformance {
 protected:
  /// Runs `op(logits, gradient)` -> LossSums on (rows, 5) logits; `gradient` may be null.
  template <class Op>
  double run(const Rows& logits, std::vector<double>* gradient, Op op) {
    const Matrix input = to_matrix(logits, 5);
    const auto rows = static_cast<std::int64_t>(gradient == nullptr ? 0 : logits.size());
    Matrix output(memory(), dtype(), rows, 5);
    const double loss = op(input.view(), output.view()).loss;
    if (gradient == nullptr) return loss;
    for (const std::vector<double>& row : to_rows(output.view())) {
      gradient->insert(gradient->end(), row.begin(), row.end());
    }
    return loss;
  }

  const Rows logits_{{0.3, -1.2, 2.0, 0.0, -0.4}, {1.5, 0.1, -3.0, 0.7, 0.2}, {-2, 4, 1, -1, 0.5}};
  const std::vector<double> weights_{0.5, 2, 0, 1.25, 3};
};

TEST_P(LossGradient, OfCrossEntropyIsItsFiniteDifference) {
  const std::vector<std::int32_t> labels{1, 4, 2};
  expect_finite_differences(logits_, [&](const Rows& logits, std::vector<double>* gradient) {
    return run(logits, gradient, [&](ConstMatrixView input, MatrixView output) {
      return backend().dense().cross_entropy(
          {input, to_device(labels).span(), 1, output, to_device(weights_).span()}, stream());
    });
  });
}

TEST_P(LossGradient, OfBinaryCrossEntropyIsItsFiniteDifference) {
  const std::vector<std::uint8_t> labels{1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0};
  expect_finite_differences(logits_, [&](const Rows& logits, std::vector<double>* gradient) {
    return run(logits, gradient, [&](ConstMatrixView input, MatrixView output) {
      return backend().dense().binary_cross_entropy(
          {input, to_device(labels).span(), to_device(weights_).span(), 1, output}, stream());
    });
  });
}

INSTANTIATE_TEST_SUITE_P(Types, LossGradient, testing::Values(DType::kF64),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
