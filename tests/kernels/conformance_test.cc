// One suite for every backend: each op against a plain double-precision reference, in fp32, fp64
// and bf16, and bit-identical for any number of threads and on every GPU of a kind.
#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

TEST_P(Conformance, Gemm) {
  struct Shape {
    std::size_t m, n, k;
    bool transpose_a, transpose_b, accumulate;
  };
  for (const Shape& s :
       {Shape{5, 7, 3, false, true, false}, Shape{3000, 17, 33, false, true, true},
        Shape{1, 1, 1, false, false, false}, Shape{2500, 12, 20, false, false, true},
        Shape{24, 31, 4100, true, false, false}, Shape{9, 5, 70, true, false, true},
        Shape{6, 4, 0, false, true, false}, Shape{0, 4, 3, false, true, false},
        // Few columns, few rows of the inner dimension, few rows of the result.
        Shape{1100, 4, 100, false, true, true}, Shape{300, 7, 20, false, false, false},
        Shape{1100, 100, 4, false, false, true}, Shape{300, 33, 8, false, true, false},
        Shape{4, 100, 2500, true, false, false}, Shape{6, 37, 5000, true, false, true}}) {
    const Rows a = s.transpose_a ? random_rows(s.k, s.m) : random_rows(s.m, s.k);
    const Rows b = s.transpose_b ? random_rows(s.n, s.k) : random_rows(s.k, s.n);
    const Rows c = random_rows(s.m, s.n);
    Rows expected = s.accumulate ? c : zeros(s.m, s.n);
    for (std::size_t i = 0; i < s.m; ++i) {
      for (std::size_t j = 0; j < s.n; ++j) {
        for (std::size_t k = 0; k < s.k; ++k) {
          expected[i][j] +=
              (s.transpose_a ? a[k][i] : a[i][k]) * (s.transpose_b ? b[j][k] : b[k][j]);
        }
      }
    }
    for (const DType of : std::set<DType>{dtype(), computed()}) {
      const auto run = [&](Backend& backend, Stream& stream) {
        const Matrix left = to_matrix(a, s.transpose_a ? s.m : s.k);
        const Matrix right = to_matrix(b, s.transpose_b ? s.k : s.n);
        Matrix result = to_matrix(c, s.n, of);
        backend.dense().gemm(
            {left.view(), right.view(), result.view(), s.transpose_a, s.transpose_b, s.accumulate},
            stream);
        return result;
      };
      check(expected, run, 1 + std::sqrt(static_cast<double>(s.k)) / 3);
    }
  }
}

/// Rows that kernels read element by element, and in packs of 16 bytes; many, and few that are
/// long.
struct Size {
  std::size_t rows, cols;
};
constexpr Size kSizes[] = {{900, 37}, {900, 40}, {3, 5001}, {3, 5000}};

TEST_P(Conformance, GatherRows) {
  for (const auto& [count, cols] : kSizes) {
    const Rows source = random_rows(100, cols);
    std::vector<RowIndex> rows;
    for (std::size_t i = 0; i < count; ++i) rows.push_back(static_cast<RowIndex>(random_() % 100));
    Rows expected;
    for (RowIndex row : rows) expected.push_back(source[row]);
    check(expected, [&](Backend& backend, Stream& stream) {
      const Matrix from = to_matrix(source, cols);
      Matrix to(backend.memory(), dtype(), static_cast<std::int64_t>(count), from.cols());
      backend.sparse().gather_rows({from.view(), to_device(rows).span(), to.view()}, stream);
      return to;
    });
  }
}

TEST_P(Conformance, GatherRowsWidensHalf) {
  // 1, -2, 2^-24, -(1 - 2^-10) 2^-14, 65504, about 1/3
  check_widening<Half>({{0x3C00}, {0xC000}, {0x0001}, {0x83FF}, {0x7BFF}, {0x3555}},
                       {1, -2, 0x1p-24, -0x3FFp-24, 65504, 0x555p-12});
}

TEST_P(Conformance, GatherRowsWidensBFloat16) {
  // 1, -2, 2^-133, -(1 - 2^-7) 2^-126, about 2^128, about 1/3
  check_widening<BFloat16>({{0x3F80}, {0xC000}, {0x0001}, {0x807F}, {0x7F7F}, {0x3EAB}},
                           {1, -2, 0x1p-133, -0x7Fp-133, 0xFFp+120, 0xABp-9});
}

TEST_P(Conformance, GatherRowsWidensSingle) {
  const std::vector<float> single{1.5f, -2, 0.1f, 3};
  const std::vector<RowIndex> rows{1, 0};
  const Rows expected{{rounded(single[2], dtype()), 3}, {1.5, -2}};
  check(expected, [&](Backend& backend, Stream& stream) {
    Matrix to(backend.memory(), dtype(), 2, 2);
    const DeviceArray<float> from = to_device(single);
    backend.sparse().gather_rows(
        {{from.span().data(), DType::kF32, 2, 2, 2}, to_device(rows).span(), to.view()}, stream);
    return to;
  });
}

TEST_P(Conformance, ConvertRowsRoundsToBFloat16AndWidensExactly) {
  if (dtype() == DType::kBF16) GTEST_SKIP() << "converts from and to the other types";
  // Ties to the even one of 1 + 2^-7 and its neighbours, and to infinity beyond the largest number.
  const Rows special{{1 + 0x1p-8, 1, 1 + 3 * 0x1p-8, 1 + 0x1p-6, 1 + 0x1.8p-8, 1 + 0x1p-7, 0, 0,
                      0x1.FFp127, INFINITY, -0x1.FEp127, -0x1.FEp127, 0x1p-133, 0x1p-133}};
  for (const auto& [count, cols] : kSizes) {
    Rows values = random_rows(count, cols);
    Rows expected = values;
    for (std::size_t i = 0; i < values.size(); ++i) {
      for (std::size_t c = 0; c < cols; ++c) {
        const std::size_t pair = (i * cols + c) % 14 / 2 * 2;
        if (i % 2 == 0) values[i][c] = special[0][pair];
        expected[i][c] = i % 2 == 0 ? special[0][pair + 1]
                                    : to_float(to_bfloat16(static_cast<float>(values[i][c])));
      }
    }
    const auto widened = [&](Backend& backend, Stream& stream) {
      const Matrix from = to_matrix(values, cols);
      Matrix narrow(backend.memory(), DType::kBF16, from.rows(), from.cols());
      Matrix to(backend.memory(), dtype(), from.rows(), from.cols());
      backend.sparse().convert_rows({from.view(), narrow.view()}, stream);
      backend.sparse().convert_rows({std::as_const(narrow).view(), to.view()}, stream);
      return to_rows(to.view());
    };
    for_each_device([&] { EXPECT_EQ(widened(backend(), stream()), expected); });
  }
}

TEST_P(Conformance, ScaleRows) {
  for (const auto& [count, cols] : kSizes) {
    const Rows values = random_rows(count, cols);
    std::vector<double> factors;
    Rows expected = values;
    for (std::size_t i = 0; i < count; ++i) {
      factors.push_back(1.0 / static_cast<double>(i + 1));
      for (double& x : expected[i]) x *= factors[i];
    }
    check(expected, [&](Backend& backend, Stream& stream) {
      Matrix matrix = to_matrix(values, cols);
      backend.sparse().scale_rows({matrix.view(), to_device(factors).span()}, stream);
      return matrix;
    });
  }
}

TEST_P(Conformance, AddRows) {
  for (const auto& [count, cols] : kSizes) {
    const std::size_t picked = count * 7 / 9;
    const Rows start = random_rows(count, cols), added = random_rows(picked, cols);
    std::vector<RowIndex> rows(count);
    std::iota(rows.begin(), rows.end(), RowIndex{0});
    std::shuffle(rows.begin(), rows.end(), random_);
    rows.resize(picked);
    Rows expected = start;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t c = 0; c < cols; ++c) expected[rows[i]][c] += added[i][c];
    }
    check(expected, [&](Backend& backend, Stream& stream) {
      const Matrix source = to_matrix(added, cols);
      Matrix destination = to_matrix(start, cols);
      backend.sparse().add_rows({source.view(), to_device(rows).span(), destination.view()},
                                stream);
      return destination;
    });
  }
}

TEST_P(Conformance, SumRows) {
  for (std::size_t rows : {0, 1, 1024, 5000, 17000}) {
    const Rows values = random_rows(rows, 21);
    Rows expected = zeros(1, 21);
    for (const auto& row : values) {
      for (std::size_t c = 0; c < 21; ++c) expected[0][c] += row[c];
    }
    const auto sum_of = [&](Backend& backend, Stream& stream) {
      const Matrix matrix = to_matrix(values, 21);
      Matrix sum(backend.memory(), computed(), 1, 21);
      backend.dense().sum_rows({matrix.view(), sum.view()}, stream);
      return sum;
    };
    // Terms cancel out: the sums on the way are about as large as the root of their number.
    check(expected, sum_of, 1 + std::sqrt(static_cast<double>(rows)) / 16);
  }
}

std::vector<OriginalId> some_nodes(std::size_t count) {
  std::vector<OriginalId> nodes;
  for (std::size_t i = 0; i < count; ++i) nodes.push_back(OriginalId{i * 977 + 5});
  return nodes;
}

bool kept(const Dropout& dropout, OriginalId node, std::size_t column) {
  const PhiloxBlock block = draw(dropout.key, value(node), static_cast<std::uint32_t>(column / 8));
  const std::uint32_t word = block.word[column % 8 / 2];
  return (column % 2 == 0 ? word & 0xFFFFu : word >> 16) >= dropout.threshold();
}

// A loss that is NaN must show: no activation turns NaN into a number.
TEST_P(Conformance, ActivationsKeepNaN) {
  for (Activation activation : {Activation::kNone, Activation::kRelu, Activation::kElu}) {
    Rows values = random_rows(3, 40);
    values[1][7] = values[2][39] = std::nan("");
    Matrix matrix = to_matrix(values, 40);
    backend().dense().bias_activation_dropout(
        {.values = matrix.view(), .bias = {}, .activation = activation, .dropout = {}, .nodes = {}},
        stream());
    const Rows rows = to_rows(matrix.view());
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::size_t c = 0; c < 40; ++c) {
        EXPECT_EQ(std::isnan(rows[i][c]), std::isnan(values[i][c])) << i << " " << c;
      }
    }
  }
}

class BiasActivationDropout : public Conformance {
 protected:
  void check_width(std::size_t cols);
};

TEST_P(BiasActivationDropout, AndItsGradient) {
  for (const std::size_t cols : {45, 52, 64}) check_width(cols);
}

void BiasActivationDropout::check_width(std::size_t cols) {
  constexpr std::size_t kRows = 300;
  const auto nodes = some_nodes(kRows);
  for (Activation activation : {Activation::kNone, Activation::kRelu, Activation::kElu}) {
    for (double probability : {0.0, 0.3, 0.5}) {
      const Dropout dropout{probability,
                            {.seed = 3, .step = 8, .purpose = Purpose::kDropout, .layer = 1}};
      const Rows values = random_rows(kRows, cols), bias = random_rows(1, cols);
      Rows gradient = random_rows(kRows, cols);
      for (std::size_t i = 0; i < kRows; i += 2) {  // zeros before other values
        std::fill_n(gradient[i].begin() + 6, 20, 0.0);
      }
      Rows forward = zeros(kRows, cols), backward = zeros(kRows, cols);
      for (std::size_t i = 0; i < kRows; ++i) {
        for (std::size_t c = 0; c < cols; ++c) {
          const double x = values[i][c] + bias[0][c];
          const bool linear = activation == Activation::kNone || x > 0;
          const bool elu = activation == Activation::kElu;
          const double scale =
              probability == 0 ? 1.0 : (kept(dropout, nodes[i], c) ? dropout.scale() : 0.0);
          forward[i][c] = scale * (linear ? x : elu ? std::expm1(x) : 0);
          backward[i][c] = scale * gradient[i][c] * (linear ? 1 : elu ? std::exp(x) : 0);
        }
      }
      const auto run = [&](Backend& backend, Stream& stream) {
        Matrix result = to_matrix(values, cols);
        const Matrix added = to_matrix(bias, cols, computed());
        backend.dense().bias_activation_dropout(
            {result.view(), added.view(), activation, dropout, to_device(nodes).span()}, stream);
        return result;
      };
      check(forward, run);
      check(backward, [&](Backend& backend, Stream& stream) {
        const Matrix output = run(backend, stream);
        Matrix result = to_matrix(gradient, cols);
        backend.dense().activation_dropout_backward(
            {result.view(), output.view(), activation, dropout, to_device(nodes).span()}, stream);
        return result;
      });
    }
  }
}

TEST(DropoutMask, KeepsTheAskedShare) {
  const Dropout dropout{0.3, {.seed = 1, .purpose = Purpose::kDropout}};
  int keeps = 0;
  for (OriginalId node : some_nodes(1000)) {
    for (std::size_t c = 0; c < 100; ++c) keeps += kept(dropout, node, c);
  }
  EXPECT_NEAR(keeps / 1e5, 0.7, 0.006);  // four standard deviations
}

class AdamConformance : public Conformance {};

TEST_P(AdamConformance, ThreeSteps) {
  const Rows start = random_rows(1, 40000);
  Rows w = start, m = zeros(1, 40000), v = zeros(1, 40000);
  std::vector<Rows> gradients{random_rows(1, 40000), random_rows(1, 40000), random_rows(1, 40000)};
  for (std::size_t t = 1; t <= gradients.size(); ++t) {
    for (std::size_t i = 0; i < 40000; ++i) {
      const double g = gradients[t - 1][0][i] + 0.01 * w[0][i];
      m[0][i] = 0.9 * m[0][i] + 0.1 * g;
      v[0][i] = 0.999 * v[0][i] + 0.001 * g * g;
      const double steps = static_cast<double>(t);
      const double m_hat = m[0][i] / (1 - std::pow(0.9, steps));
      const double v_hat = v[0][i] / (1 - std::pow(0.999, steps));
      w[0][i] -= 0.02 * m_hat / (std::sqrt(v_hat) + 1e-8);
    }
  }
  check(w, [&](Backend& backend, Stream& stream) {
    Matrix parameters = to_matrix(start, 40000);
    Matrix first = to_matrix(zeros(1, 40000), 40000);
    Matrix second = to_matrix(zeros(1, 40000), 40000);
    for (std::size_t t = 1; t <= gradients.size(); ++t) {
      const Matrix gradient = to_matrix(gradients[t - 1], 40000);
      backend.optimizer().adam({.parameters = parameters.view(),
                                .gradients = gradient.view(),
                                .first_moment = first.view(),
                                .second_moment = second.view(),
                                .step = static_cast<std::int64_t>(t),
                                .learning_rate = 0.02,
                                .weight_decay = 0.01},
                               stream);
    }
    return parameters;
  });
}

INSTANTIATE_TEST_SUITE_P(Types, AdamConformance, testing::Values(DType::kF32, DType::kF64),
                         [](const auto& info) { return name_of(info.param); });
INSTANTIATE_TEST_SUITE_P(Types, BiasActivationDropout, testing::ValuesIn(row_types()),
                         [](const auto& info) { return name_of(info.param); });
INSTANTIATE_TEST_SUITE_P(Types, Conformance, testing::ValuesIn(row_types()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
