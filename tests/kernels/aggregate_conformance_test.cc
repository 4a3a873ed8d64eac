// Block aggregation and its gradient against plain double-precision sums.
#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

class AggregateConformance : public Conformance {};

TEST_P(AggregateConformance, AggregateAndItsGradient) {
  std::vector<double> row_scale, self_scale;
  for (int i = 0; i < 300; ++i) {
    row_scale.push_back(1.0 / (1 + i % 7));
    self_scale.push_back(i % 5 - 2);
  }
  // Widths that kernels treat in different ways: alone, in packs of 8 and 16 bytes, in several
  // tiles.
  for (std::size_t cols : {1, 7, 10, 21, 32, 45, 60, 90, 100, 200, 303, 602}) {
    for (const AggregateOptions& options :
         {AggregateOptions{.reduce = Reduce::kSum}, AggregateOptions{.reduce = Reduce::kMean},
          AggregateOptions{Reduce::kSum, row_scale, self_scale, true},
          AggregateOptions{Reduce::kMean, row_scale, {}, false},
          AggregateOptions{Reduce::kMean, {}, self_scale, true}}) {
      check_aggregate(cols, options);
      check_aggregate(cols, options, /*weighted=*/true);
    }
  }
}

/// No edge at all, rows without edges before and after those that have some, no columns.
TEST_P(AggregateConformance, WhatIsEmpty) {
  const std::vector<double> self_scale{2, 3};
  const AggregateOptions options{Reduce::kMean, {}, self_scale, false};
  const Rows source{{1, 2}, {3, 4}, {5, 6}}, gradient{{7, 8}, {9, 10}};
  const auto check_both = [&](const Csr& csr, const Rows& forward, const Rows& backward) {
    check(forward, [&](Backend&, Stream&) {
      const Matrix from = to_matrix(source, 2);
      return aggregate(csr, from, options, {});
    });
    check(backward, [&](Backend&, Stream&) {
      const Matrix from = to_matrix(gradient, 2);
      return aggregate_backward(csr, 3, from, options, {});
    });
  };
  check_both({{0, 0, 0}, {}}, {{2, 4}, {9, 12}}, {{14, 16}, {27, 30}, {0, 0}});
  check_both({{0, 0, 2}, {1, 2}}, {{2, 4}, {13, 17}}, {{14, 16}, {31.5, 35}, {4.5, 5}});
  const Matrix narrow = to_matrix({{}, {}, {}}, 0);
  EXPECT_EQ(aggregate({{0, 0, 2}, {1, 2}}, narrow, options, {}).rows(), 2);
}

/// In bf16 the sum of ones would stay at 256.
TEST_P(AggregateConformance, ManySmallTermsAddUp) {
  const std::size_t count = 1000;
  const AggregateOptions options{.reduce = Reduce::kSum};
  Csr to_one{{0, count}, std::vector<RowIndex>(count, 0)};
  Csr from_one{{}, std::vector<RowIndex>(count, 0)};
  for (RowIndex i = 0; i <= count; ++i) from_one.indptr.push_back(i);
  for (std::size_t cols : {7, 20, 40}) {
    const Rows sum(1, std::vector<double>(cols, count));
    check(sum, [&](Backend&, Stream&) {
      const Matrix ones = to_matrix(Rows(1, std::vector<double>(cols, 1)), cols);
      return aggregate(to_one, ones, options, {});
    });
    check(sum, [&](Backend&, Stream&) {
      const Matrix ones = to_matrix(Rows(count, std::vector<double>(cols, 1)), cols);
      return aggregate_backward(from_one, 1, ones, options, {});
    });
  }
}

TEST_P(AggregateConformance, EdgeWeightsOfOneChangeNoBit) {
  const Csr csr = random_csr(200, 300, 12, random_);
  const std::vector<float> ones(csr.columns.size(), 1);
  const std::vector<double> scale(200, 1.0 / 3);
  const Rows source = random_rows(300, 45), gradient = random_rows(200, 45);
  const Matrix from = to_matrix(source, 45), back = to_matrix(gradient, 45);
  const auto run = [&](const AggregateOptions& options, const std::vector<float>& weights) {
    return std::pair(to_rows(aggregate(csr, from, options, weights).view()),
                     to_rows(aggregate_backward(csr, 300, back, options, weights).view()));
  };
  for (const AggregateOptions& options : {AggregateOptions{.reduce = Reduce::kMean},
                                          AggregateOptions{Reduce::kSum, scale, scale, true}}) {
    EXPECT_EQ(run(options, ones), run(options, {}));
  }
}

/// Sources from kOwn on are not there yet when the first part is summed: whoever read them would
/// find a NaN. In bf16 there are no parts.
TEST_P(AggregateConformance, InTwoParts) {
  if (dtype() == DType::kBF16) return;
  constexpr RowIndex kOwn = 170;
  const Csr csr = random_csr(150, 300, 12, random_);
  const std::vector<float> weights = random_weights(csr.columns.size());
  const std::vector<double> scale(150, 1.0 / 3), self(150, 0.5);
  for (std::size_t cols : {1, 7, 10, 45, 100, 303}) {
    const Rows source = random_rows(300, cols), gradient = random_rows(150, cols);
    Rows early = source;
    for (std::size_t j = kOwn; j < 300; ++j) early[j].assign(cols, std::nan(""));
    for (const AggregateOptions& options : {AggregateOptions{.reduce = Reduce::kMean},
                                            AggregateOptions{Reduce::kSum, scale, self, true}}) {
      const Rows whole = reference(csr, source, gradient, options, weights).forward;
      check(whole, [&](Backend&, Stream&) {
        const Matrix first = to_matrix(early, cols), all = to_matrix(source, cols);
        const Matrix before =
            aggregate(csr, first, {.reduce = Reduce::kSum, .skip_loops = options.skip_loops},
                      weights, {.only = {0, kOwn}});
        return aggregate(csr, all, options, weights,
                         {.only = {.begin = kOwn}, .before = before.view()});
      });
      const Rows backward = reference(csr, source, gradient, options, weights).backward;
      check(backward, [&](Backend&, Stream&) {
        const Matrix back = to_matrix(gradient, cols);
        Matrix parts = aggregate_backward(csr, 300, back, options, weights, kOwn);
        if (backend().sparse().sums_in_parts()) {
          const Rows at_once = to_rows(aggregate_backward(csr, 300, back, options, weights).view());
          EXPECT_EQ(to_rows(parts.view()), at_once);
        }
        return parts;
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, AggregateConformance, testing::ValuesIn(row_types()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
