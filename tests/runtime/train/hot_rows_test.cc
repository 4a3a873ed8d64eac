// Which rows are kept: against a sort, for many counts; and where a kept row lies.
#include "runtime/train/hot_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace gsplit {
namespace {

using Reads = std::vector<std::uint16_t>;

/// Few distinct values, so that most are tied; up to the largest.
Reads random_reads(std::size_t nodes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Reads reads(nodes);
  for (std::uint16_t& count : reads) {
    count = static_cast<std::uint16_t>(random() % 9 == 0 ? 65535 : random() % 6);
  }
  return reads;
}

/// By sorting: most reads first, then the smaller id; the result ascends.
std::vector<GlobalId> reference(const Reads& reads, std::vector<std::uint64_t> nodes,
                                std::size_t count) {
  std::stable_sort(nodes.begin(), nodes.end(),
                   [&](std::uint64_t a, std::uint64_t b) { return reads[a] > reads[b]; });
  nodes.resize(std::min(count, nodes.size()));
  std::sort(nodes.begin(), nodes.end());
  std::vector<GlobalId> ids;
  for (const std::uint64_t node : nodes) ids.push_back(GlobalId{node});
  return ids;
}

TEST(HotRows, AreThoseOfASort) {
  for (const std::size_t nodes : {0u, 1u, 7u, 200u}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const Reads reads = random_reads(nodes, seed);
      std::vector<std::uint64_t> all(nodes);
      std::iota(all.begin(), all.end(), 0);
      const GlobalRange own{nodes / 4, nodes / 2};
      std::vector<std::uint64_t> others;
      for (const std::uint64_t node : all) {
        if (!own.contains(GlobalId{node}) && reads[node] > 0) others.push_back(node);
      }
      for (std::size_t count = 0; count <= nodes + 2; ++count) {
        ASSERT_EQ(hottest(reads, count), reference(reads, all, count)) << nodes << " " << count;
        ASSERT_EQ(hottest_elsewhere(reads, count, own), reference(reads, others, count));
      }
    }
  }
}

TEST(HotRows, ABudgetIsAFraction) {
  EXPECT_EQ(rows_within(0, 1000), 0u);
  EXPECT_EQ(rows_within(1, 1000), 1000u);
  EXPECT_EQ(rows_within(0.2, 1000), 200u);
  EXPECT_EQ(rows_within(0.2, 3), 1u);  // to the nearest
  EXPECT_EQ(rows_within(0.1, 3), 0u);
  EXPECT_EQ(rows_within(0.5, 0), 0u);
}

TEST(NodeRanks, AreThePositionsAmongMembers) {
  std::mt19937_64 random(3);
  for (const std::uint64_t nodes : {0u, 1u, 63u, 64u, 65u, 1000u}) {
    for (const unsigned one_in : {1u, 2u, 40u}) {
      std::vector<GlobalId> members;
      for (std::uint64_t node = 0; node < nodes; ++node) {
        if (random() % one_in == 0) members.push_back(GlobalId{node});
      }
      const NodeRanks ranks(members, nodes);
      std::uint64_t next = 0;
      for (std::uint64_t node = 0; node < nodes; ++node) {
        const bool member = next < members.size() && members[next] == GlobalId{node};
        ASSERT_EQ(ranks.find(GlobalId{node}), member ? std::optional(next++) : std::nullopt);
      }
    }
  }
}

}  // namespace
}  // namespace gsplit
