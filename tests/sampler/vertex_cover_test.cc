// Covers of random bipartite graphs: every edge has a node of the cover, and the cover has as many
// nodes as the maximum matching that simple augmenting paths find; so none is smaller.
#include "sampler/vertex_cover.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace gsplit {
namespace {

struct Graph {
  std::vector<std::uint32_t> offsets{0};
  std::vector<std::uint32_t> rights;
  std::size_t num_rights = 0;

  BipartiteView view() const { return {offsets, rights, num_rights}; }
};

/// `skew` above 1 makes a few right nodes popular.
Graph random_bipartite(std::size_t lefts, std::size_t rights, std::uint32_t max_degree, double skew,
                       std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Graph graph;
  graph.num_rights = rights;
  for (std::size_t left = 0; left < lefts; ++left) {
    for (auto degree = random() % (max_degree + 1); degree > 0; --degree) {
      const double place = std::pow(std::uniform_real_distribution<double>()(random), skew);
      graph.rights.push_back(static_cast<std::uint32_t>(place * static_cast<double>(rights)));
    }
    graph.offsets.push_back(static_cast<std::uint32_t>(graph.rights.size()));
  }
  return graph;
}

/// One augmenting path after the other.
class SimpleMatching {
 public:
  explicit SimpleMatching(const BipartiteView& graph)
      : graph_(graph), mates_(graph.num_rights, -1) {}

  std::size_t size() {
    std::size_t matched = 0;
    for (std::size_t left = 0; left < graph_.num_lefts(); ++left) {
      visited_.assign(graph_.num_rights, false);
      if (augment(left)) ++matched;
    }
    return matched;
  }

 private:
  bool augment(std::size_t left) {
    for (const std::uint32_t right : graph_.neighbors(left)) {
      if (visited_[right]) continue;
      visited_[right] = true;
      if (mates_[right] >= 0 && !augment(static_cast<std::size_t>(mates_[right]))) continue;
      mates_[right] = static_cast<std::int64_t>(left);
      return true;
    }
    return false;
  }

  BipartiteView graph_;
  std::vector<std::int64_t> mates_;
  std::vector<bool> visited_;
};

void expect_minimum(const Graph& graph) {
  const VertexCover cover = minimum_vertex_cover(graph.view());
  ASSERT_EQ(cover.lefts.size(), graph.view().num_lefts());
  ASSERT_EQ(cover.rights.size(), graph.num_rights);
  for (std::size_t left = 0; left < cover.lefts.size(); ++left) {
    for (const std::uint32_t right : graph.view().neighbors(left)) {
      ASSERT_TRUE(cover.lefts[left] || cover.rights[right]) << left << " - " << right;
    }
  }
  EXPECT_EQ(cover.size(), SimpleMatching(graph.view()).size());
}

TEST(VertexCover, IsAMinimumOnRandomGraphs) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const std::size_t lefts = 1 + seed * 7 % 90, rights = 1 + seed * 13 % 80;
    expect_minimum(
        random_bipartite(lefts, rights, 1 + seed % 6, 1 + static_cast<double>(seed % 3), seed));
  }
  expect_minimum(random_bipartite(2000, 1500, 4, 1, 1));
  expect_minimum(random_bipartite(1500, 3000, 10, 2, 2));
}

TEST(VertexCover, TakesTheHubsOfBothSides) {
  Graph graph;  // left 0 to rights 0 .. 4; lefts 1 .. 5 to right 5
  graph.num_rights = 6;
  graph.rights = {0, 1, 2, 3, 4, 5, 5, 5, 5, 5};
  graph.offsets = {0, 5, 6, 7, 8, 9, 10};
  const VertexCover cover = minimum_vertex_cover(graph.view());
  EXPECT_EQ(cover.lefts, (std::vector<std::uint8_t>{1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(cover.rights, (std::vector<std::uint8_t>{0, 0, 0, 0, 0, 1}));
}

TEST(VertexCover, OfNoEdgesIsEmpty) {
  Graph graph;
  EXPECT_EQ(minimum_vertex_cover(graph.view()).size(), 0u);
  graph.offsets = {0, 0, 0};
  graph.num_rights = 3;
  EXPECT_EQ(minimum_vertex_cover(graph.view()).size(), 0u);
}

TEST(VertexCover, GoesThroughPathsLongerThanAStack) {
  constexpr std::uint32_t kLength = 200000;  // a path whose greedy matching leaves one pair over
  Graph graph;
  graph.num_rights = kLength;
  for (std::uint32_t left = 0; left + 1 < kLength; ++left) {
    graph.rights.insert(graph.rights.end(), {left + 1, left});
    graph.offsets.push_back(static_cast<std::uint32_t>(graph.rights.size()));
  }
  graph.rights.push_back(kLength - 1);
  graph.offsets.push_back(static_cast<std::uint32_t>(graph.rights.size()));
  EXPECT_EQ(minimum_vertex_cover(graph.view()).size(), kLength);
}

}  // namespace
}  // namespace gsplit
