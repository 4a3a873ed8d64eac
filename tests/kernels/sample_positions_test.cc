// Floyd's sample: distinct, ascending, in range, uniform, and the same from list and bitmap.
#include "kernels/base/sample_positions.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace gsplit {
namespace {

std::vector<std::uint32_t> positions(std::uint32_t degree, std::uint32_t count, std::uint64_t seed,
                                     std::uint64_t node = 7) {
  std::vector<std::uint64_t> bitmap;
  std::vector<std::uint32_t> out(count);
  sample_positions(degree, count, DrawKey{.seed = seed, .step = 3}, OriginalId{node}, bitmap,
                   out.data());
  return out;
}

TEST(SamplePositions, AreDistinctAscendingAndInRange) {
  for (std::uint32_t degree : {1u, 2u, 5u, 31u, 33u, 64u, 200u, 5000u}) {
    for (std::uint32_t count : {0u, 1u, 2u, 5u, 31u, 32u, 33u, 64u, 199u}) {
      if (count > degree) continue;
      const auto drawn = positions(degree, count, degree * 1000 + count);
      EXPECT_TRUE(std::is_sorted(drawn.begin(), drawn.end()));
      EXPECT_EQ(std::set<std::uint32_t>(drawn.begin(), drawn.end()).size(), count);
      for (std::uint32_t position : drawn) EXPECT_LT(position, degree);
    }
  }
}

TEST(SamplePositions, TakesAllWhereTheFanoutReachesTheDegree) {
  std::vector<std::uint32_t> all(40);
  std::iota(all.begin(), all.end(), 0u);
  EXPECT_EQ(positions(40, 40, 1), all);
  EXPECT_EQ(sample_size(40, -1), 40u);
  EXPECT_EQ(sample_size(40, 50), 40u);
  EXPECT_EQ(sample_size(40, 10), 10u);
}

TEST(SamplePositions, ListAndBitmapAgree) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const DrawKey key{.seed = seed};
    std::vector<std::uint32_t> by_list(20), by_bitmap(20);
    std::vector<std::uint64_t> bitmap;
    NodeDraws first(key, OriginalId{seed}), second(key, OriginalId{seed});
    floyd_by_list(35, 20, first, by_list.data());
    floyd_by_bitmap(35, 20, second, bitmap, by_bitmap.data());
    ASSERT_EQ(by_list, by_bitmap);
  }
}

// Every position is drawn with probability count / degree: chi-square with 49 degrees of freedom
// stays below 94 with probability 0.9999.
TEST(SamplePositions, IsUniform) {
  constexpr std::uint32_t kDegree = 50, kCount = 10, kTrials = 20000;
  std::vector<double> hits(kDegree);
  for (std::uint32_t trial = 0; trial < kTrials; ++trial) {
    for (std::uint32_t p : positions(kDegree, kCount, 11, trial)) hits[p] += 1;
  }
  const double expected = double{kTrials} * kCount / kDegree;
  double chi_square = 0;
  for (double h : hits) chi_square += (h - expected) * (h - expected) / expected;
  EXPECT_LT(chi_square, 94);
  EXPECT_GT(chi_square, 10);  // a permutation-like regularity would be as suspicious
}

TEST(SamplePositions, DependsOnEveryPartOfTheKey) {
  EXPECT_NE(positions(1000, 10, 1), positions(1000, 10, 2));
  EXPECT_NE(positions(1000, 10, 1, 7), positions(1000, 10, 1, 8));
}

}  // namespace
}  // namespace gsplit
