// --class-weights balanced, and the counts that its scores come from.
#include "runtime/train/class_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/prediction_counts.h"

namespace gsplit {
namespace {

using testing::ElementsAre;

TEST(BalancedWeights, GiveEachClassTheSameSay) {
  const std::vector<std::uint64_t> counts{6, 2, 0, 4};
  const std::vector<double> weights = balanced_weights(Task::kMultiClass, counts, 12);
  EXPECT_THAT(weights, ElementsAre(0.5, 1.5, 0, 0.75));
  for (const std::size_t c : {0, 1, 3}) {
    EXPECT_EQ(weights[c] * static_cast<double>(counts[c]), 3);  // 12 nodes / 4 classes
  }
}

TEST(BalancedWeights, OfLabelsAreNegativesOverPositives) {
  const std::vector<std::uint64_t> counts{6, 2, 0, 12};
  EXPECT_THAT(balanced_weights(Task::kMultiLabel, counts, 12), ElementsAre(1, 5, 1, 0));
}

TEST(PredictionCounts, F1IsTheAccuracyOfOneClassANode) {
  PredictionCounts counts{7, 3, 3};
  EXPECT_EQ(counts.f1(), 0.7);
  counts += {1, 0, 4};
  EXPECT_EQ(counts.f1(), 16.0 / 26.0);
  EXPECT_EQ(PredictionCounts{}.f1(), 0);
}

}  // namespace
}  // namespace gsplit
