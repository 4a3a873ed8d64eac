// What vector code computes against the plain functions it stands for, with the best instructions
// of this processor.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/base/dropout.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/philox_lanes.h"

namespace gsplit::cpu {
namespace {

TEST(PhiloxLanes, AreTheBlocksOfPhilox) {
  const DrawKey key{
      .seed = 0x123456789ABCDEFu, .step = 77, .purpose = Purpose::kDropout, .layer = 3};
  for (std::uint32_t first : {0u, 16u, 1000u}) {
    const std::uint64_t who = 0x100000000u * first + 5;
    PhiloxHalves halves;
    with_best_instructions([&]() GSPLIT_INLINE_BODY { draw_lanes(key, who, first, halves); });
    for (std::uint32_t lane = 0; lane < kPhiloxLanes; ++lane) {
      for (std::uint32_t threshold : {1000u, 30000u}) {
        const std::uint32_t kept = kept_columns(key, threshold, OriginalId{who}, first + lane);
        for (std::uint32_t i = 0; i < 8; ++i) {
          EXPECT_EQ(halves[8 * lane + i] >= threshold, ((kept >> i) & 1u) != 0) << lane << " " << i;
        }
      }
    }
  }
}

/// The largest relative error of `approximate` over points of [-87, 0].
template <class Approximate, class Exact>
double largest_error(Approximate approximate, Exact exact) {
  std::vector<float> points, results;
  for (double x = -87; x < -1e-30; x *= 0.9999) points.push_back(static_cast<float>(x));
  for (int i = 0; i < 100000; ++i) points.push_back(-static_cast<float>(i) * 1e-4f);
  results.resize(points.size());
  with_best_instructions([&]() GSPLIT_INLINE_BODY {
    for (std::size_t i = 0; i < points.size(); ++i) results[i] = approximate(points[i]);
  });
  double largest = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double expected = exact(static_cast<double>(points[i]));
    if (expected == 0) continue;
    largest = std::max(largest, std::abs((results[i] - expected) / expected));
  }
  return largest;
}

TEST(Exponential, IsWithinTwoUnitsInTheLastPlace) {
  EXPECT_LT(largest_error([](float x) GSPLIT_INLINE_BODY { return exp_not_positive(x); },
                          [](double x) { return std::exp(x); }),
            2.4e-7);
  EXPECT_LT(largest_error([](float x) GSPLIT_INLINE_BODY { return expm1_not_positive(x); },
                          [](double x) { return std::expm1(x); }),
            2.4e-7);
}

TEST(Exponential, HoldsAtTheEnds) {
  EXPECT_EQ(exp_not_positive(0.0f), 1.0f);
  EXPECT_EQ(expm1_not_positive(0.0f), 0.0f);
  EXPECT_GE(exp_not_positive(-1e30f), 0.0f);
  EXPECT_LT(exp_not_positive(-1e30f), 2e-38f);
  EXPECT_EQ(expm1_not_positive(-1e30f), -1.0f);
  EXPECT_TRUE(std::isnan(exp_not_positive(NAN)));
  EXPECT_TRUE(std::isnan(expm1_not_positive(NAN)));
}

}  // namespace
}  // namespace gsplit::cpu
