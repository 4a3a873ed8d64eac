// LABOR-0: how often an edge is kept, and that destinations agree about a source.
#include "kernels/base/labor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace gsplit {
namespace {

TEST(Labor, KeepsAnEdgeWithProbabilityFanoutOverDegree) {
  constexpr std::uint32_t kSteps = 100000;
  for (const auto& [fanout, degree] : {std::pair{1, 2u}, {5, 7u}, {10, 1000u}, {3, 3u}, {9, 4u}}) {
    double kept = 0;
    for (std::uint32_t step = 0; step < kSteps; ++step) {
      kept += labor_keeps(labor_variate({.seed = 1, .step = step}, OriginalId{42}), fanout, degree);
    }
    const double probability = std::min(1.0, static_cast<double>(fanout) / degree);
    const double deviation = std::sqrt(kSteps * probability * (1 - probability));
    EXPECT_NEAR(kept, kSteps * probability, 4 * deviation) << fanout << " of " << degree;
  }
}

TEST(Labor, ComparesIntegersExactly) {
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  EXPECT_TRUE(labor_keeps(kMost, 1, 1));
  EXPECT_TRUE(labor_keeps((1u << 31) - 1, 1, 2));
  EXPECT_FALSE(labor_keeps(1u << 31, 1, 2));
  EXPECT_TRUE(labor_keeps(0, 1, kMost));
  EXPECT_TRUE(labor_keeps(kMost, std::numeric_limits<std::int32_t>::max(), (1u << 31) - 1));
  EXPECT_FALSE(labor_keeps(kMost, std::numeric_limits<std::int32_t>::max(), kMost));
}

TEST(Labor, VariatesDependOnSourceLayerStepAndSeed) {
  const DrawKey key{.seed = 1, .step = 2, .layer = 3};
  const std::uint32_t variate = labor_variate(key, OriginalId{9});
  EXPECT_EQ(labor_variate(key, OriginalId{9}), variate);
  EXPECT_NE(labor_variate(key, OriginalId{10}), variate);
  EXPECT_NE(labor_variate({.seed = 2, .step = 2, .layer = 3}, OriginalId{9}), variate);
  EXPECT_NE(labor_variate({.seed = 1, .step = 3, .layer = 3}, OriginalId{9}), variate);
  EXPECT_NE(labor_variate({.seed = 1, .step = 2, .layer = 1}, OriginalId{9}), variate);
}

}  // namespace
}  // namespace gsplit
