// Weighted draws without replacement: distinct, ascending, of positive weight, and as often as one
// draw after the other in proportion to the weights left gives.
#include "kernels/base/weighted_positions.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <set>

namespace gsplit {
namespace {

using Positions = std::vector<std::uint32_t>;

struct Row {
  explicit Row(const std::vector<float>& weights) : sums(weights.size()) {
    positive = accumulate_weights(weights, sums);
  }
  Positions draw(std::uint32_t count, std::uint32_t step, std::uint64_t node = 7) const {
    Positions out(count);
    weighted_positions(sums, positive, count, {.seed = 5, .step = step}, OriginalId{node},
                       out.data());
    return out;
  }

  std::vector<std::uint32_t> sums;
  std::uint32_t positive = 0;
};

/// Probability of each set of `count` positions, drawn one after the other.
void add_sets(const std::vector<float>& weights, std::uint32_t count, const Positions& drawn,
              double probability, std::map<Positions, double>& sets) {
  if (drawn.size() == count) {
    Positions set = drawn;
    std::sort(set.begin(), set.end());
    sets[set] += probability;
    return;
  }
  double left = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (const std::uint32_t position : drawn) left -= weights[position];
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0 || std::find(drawn.begin(), drawn.end(), i) != drawn.end()) continue;
    Positions next = drawn;
    next.push_back(i);
    add_sets(weights, count, next, probability * weights[i] / left, sets);
  }
}

TEST(WeightedPositions, AreDistinctAscendingAndOfPositiveWeight) {
  std::mt19937_64 random(3);
  for (const std::size_t degree : {1u, 2u, 7u, 60u, 3000u}) {
    std::vector<float> weights(degree);
    for (float& weight : weights) weight = random() % 3 == 0 ? 0 : std::ldexp(1.0f, random() % 60);
    const Row row(weights);
    const auto positive = static_cast<std::uint32_t>(
        degree - static_cast<std::size_t>(std::count(weights.begin(), weights.end(), 0.0f)));
    ASSERT_EQ(row.positive, positive);
    for (std::uint32_t count : {0u, 1u, 5u, 40u, positive - positive / 8, positive}) {
      count = std::min(count, positive);
      const Positions drawn = row.draw(count, count);
      EXPECT_TRUE(std::is_sorted(drawn.begin(), drawn.end()));
      EXPECT_EQ(std::set<std::uint32_t>(drawn.begin(), drawn.end()).size(), count);
      for (const std::uint32_t position : drawn) EXPECT_GT(weights.at(position), 0);
    }
  }
}

/// Chi-square of sets drawn in 40,000 steps, far below what a wrong probability gives.
TEST(WeightedPositions, SetsComeAsOftenAsExactProbabilitiesSay) {
  constexpr std::uint32_t kSteps = 40000;
  for (const auto& [weights, count] : {std::pair{std::vector<float>{1, 2, 0, 3, 0.5, 4}, 2u},
                                       {{1, 2, 0, 3, 0.5, 4}, 3u},
                                       {{100, 1, 1, 1, 1}, 2u},
                                       {{100, 1, 50, 2, 1, 0}, 4u},
                                       {{1, 1, 1, 1}, 1u}}) {
    std::map<Positions, double> sets;
    add_sets(weights, count, {}, 1, sets);
    const Row row(weights);
    std::map<Positions, double> seen;
    for (std::uint32_t step = 0; step < kSteps; ++step) ++seen[row.draw(count, step)];
    double chi_square = 0;
    for (const auto& [set, probability] : sets) {
      const double expected = probability * kSteps;
      chi_square += (seen[set] - expected) * (seen[set] - expected) / expected;
    }
    EXPECT_EQ(seen.size(), sets.size());
    const auto freedom = static_cast<double>(sets.size() - 1);
    EXPECT_LT(chi_square, freedom + 4 * std::sqrt(2 * freedom));  // its mean + 4 deviations
  }
}

TEST(WeightedPositions, IntegersFollowTheRowAlone) {
  const Row row({1, 2, 5}), scaled({0x1p-100f, 0x1p-99f, 5 * 0x1p-100f});
  EXPECT_EQ(row.sums, scaled.sums);
  EXPECT_NEAR(row.sums.back(), 0x1p31, 3);
  EXPECT_NEAR(row.sums[0], 0x1p31 / 8, 1);
  const Row tiny({1e-30f, 1});  // never 0
  EXPECT_EQ(tiny.sums[0], 1u);
  EXPECT_EQ(Row({0, 0}).positive, 0u);
  EXPECT_EQ(Row({}).positive, 0u);
  const Row largest(std::vector<float>(5, std::numeric_limits<float>::max()));
  EXPECT_NEAR(largest.sums.back(), 0x1p31, 5);
  const Row many(std::vector<float>(1u << 20, 0.1f));
  EXPECT_TRUE(std::is_sorted(many.sums.begin(), many.sums.end()));
}

}  // namespace
}  // namespace gsplit
