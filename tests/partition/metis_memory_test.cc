// The estimate of METIS's memory, by which `auto` decides.
#include "partition/metis_memory.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/partition/graphs.h"

namespace gsplit {
namespace {

using test::Edge;

std::uint64_t undirected(const std::vector<Edge>& edges) {
  std::set<Edge> unique;
  for (const auto& [u, v] : edges) {
    if (u != v) unique.emplace(std::min(u, v), std::max(u, v));
  }
  return unique.size();
}

TEST(MetisEstimate, CountsUndirectedEdges) {
  std::vector<Edge> edges = test::community_edges(1001, 8, 6, 0.9, 1);  // loops, parallel edges
  const auto estimated = [&] { return estimate_metis(test::make_csc(1001, edges).view()).edges; };
  EXPECT_EQ(estimated(), undirected(edges));
  const std::size_t count = edges.size();
  for (std::size_t e = 0; e < count; ++e) edges.emplace_back(edges[e].second, edges[e].first);
  EXPECT_EQ(estimated(), undirected(edges));
  edges.clear();
  EXPECT_EQ(estimated(), 0u);
}

TEST(MetisEstimate, OfASampleComesNear) {
  const std::vector<Edge> edges = test::community_edges(70001, 8, 6, 0.9, 1);
  const double found =
      static_cast<double>(estimate_metis(test::make_csc(70001, edges).view()).edges);
  EXPECT_NEAR(found / static_cast<double>(undirected(edges)), 1, 0.02);
}

TEST(MetisFits, InMemoryAndIn32Bits) {
  MetisEstimate estimate{.nodes = 1000, .edges = 5000, .bytes = 100000};
  EXPECT_TRUE(metis_fits(estimate, 100000));
  EXPECT_FALSE(metis_fits(estimate, 99999));
  estimate.edges = (std::uint64_t{1} << 30) - 1;
  EXPECT_TRUE(metis_fits(estimate, 100000));
  estimate.edges = std::uint64_t{1} << 30;
  EXPECT_FALSE(metis_fits(estimate, 100000));
}

}  // namespace
}  // namespace gsplit
