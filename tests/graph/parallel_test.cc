// The parallel sort and scan against the standard library's.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "graph/parallel_scan.h"
#include "graph/parallel_sort.h"

namespace gsplit {
namespace {

TEST(ParallelSort, SortsForAnySizeAndNumberOfThreads) {
  std::mt19937_64 random(1);
  for (const std::size_t size : {0, 1, 2, 5, 63, 1000, 4097}) {
    std::vector<std::uint64_t> values(size);
    for (std::uint64_t& value : values) value = random() % 500;
    std::vector<std::uint64_t> expected = values;
    std::sort(expected.begin(), expected.end());
    for (int threads = 1; threads <= 9; ++threads) {
      std::vector<std::uint64_t> sorted = values;
      parallel_sort(sorted, threads);
      EXPECT_EQ(sorted, expected) << size << " values, " << threads << " threads";
    }
  }
}

TEST(FirstWhere, FindsTheFirst) {
  std::mt19937 random(2);
  for (const std::size_t size : {0, 1, 4096, 4097, 50000}) {
    std::vector<std::uint32_t> values(size);
    for (std::uint32_t& value : values) value = random() % 20000;
    for (std::uint32_t limit = 0; limit < 20; ++limit) {
      const auto bad = [=](std::uint32_t value) { return value < limit; };
      const auto expected = std::find_if(values.begin(), values.end(), bad);
      for (int threads = 1; threads <= 5; ++threads) {
        const auto found = first_where(std::span<const std::uint32_t>(values), threads, bad);
        EXPECT_EQ(found.value_or(size), static_cast<std::size_t>(expected - values.begin()));
        EXPECT_EQ(found.has_value(), expected != values.end());
      }
    }
  }
}

}  // namespace
}  // namespace gsplit
