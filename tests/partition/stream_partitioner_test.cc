// The stream partitioner, on graphs in memory.
#include "partition/stream_partitioner.h"

#include <gtest/gtest.h>

#include "partition/quality.h"
#include "partition/simple_partitioners.h"
#include "tests/partition/graphs.h"

namespace gsplit {
namespace {

using test::Edge;
using test::make_csc;
using test::MemoryCsc;

constexpr std::uint64_t kNodes = 6001;

/// A graph with its training nodes and their presample.
struct Sampled {
  explicit Sampled(std::uint64_t nodes, const std::vector<Edge>& edges)
      : csc(make_csc(nodes, edges)),
        train(test::describe(nodes).train.nodes),
        batches(csc.view(), train, {.fanout = {6, 4}, .batch_size = 64, .seed = 3, .threads = 2}),
        counts(count_samples(csc.view(), train, batches, 2)) {}

  Assignment partition(int parts, std::uint64_t seed = 0, int threads = 2) const {
    return stream_partition(csc.view(), counts, {.parts = parts, .seed = seed, .threads = threads});
  }
  Quality measure(const Assignment& assignment, int parts) const {
    return measure_quality(csc.view(), assignment, parts, batches, counts, 2);
  }

  MemoryCsc csc;
  std::vector<std::uint64_t> train;
  PresampledBatches batches;
  PresampleCounts counts;
};

/// Directed; with loops, parallel edges and communities that ranges of nodes mix.
Sampled communities() { return Sampled(kNodes, test::community_edges(kNodes, 40, 12, 0.9, 7)); }

std::vector<Edge> both_directions(std::vector<Edge> edges) {
  const std::size_t count = edges.size();
  for (std::size_t e = 0; e < count; ++e) edges.emplace_back(edges[e].second, edges[e].first);
  return edges;
}

void expect_covers(const Assignment& assignment, std::uint64_t nodes, int parts) {
  ASSERT_EQ(assignment.size(), nodes);
  ASSERT_LT(*std::max_element(assignment.begin(), assignment.end()), parts);
  for (const std::uint64_t size : part_sizes(assignment, parts)) EXPECT_GT(size, 0u);
}

TEST(StreamPartition, BeatsRandomAndBalancesEveryLoad) {
  const auto edges = test::community_edges(kNodes, 40, 12, 0.9, 7);
  for (const Sampled& sampled : {Sampled(kNodes, edges), Sampled(kNodes, both_directions(edges))}) {
    for (const int parts : {2, 3, 4, 8, 20}) {  // 20: without the table of out-edges
      const Assignment assignment = sampled.partition(parts);
      expect_covers(assignment, kNodes, parts);
      const Quality good = sampled.measure(assignment, parts);
      const Quality baseline = sampled.measure(random_partition(kNodes, parts, 0), parts);
      EXPECT_LT(good.cut_fraction, 0.7 * baseline.cut_fraction) << parts;
      EXPECT_LT(good.shuffle_rows, 0.8 * baseline.shuffle_rows) << parts;
      EXPECT_LT(good.halo_rows, baseline.halo_rows) << parts;
      EXPECT_LT(good.load_max_avg.edges, 1.07) << parts;
      EXPECT_LT(good.load_max_avg.input_rows, 1.07) << parts;
      EXPECT_LT(good.load_max_avg.seeds, 1.07) << parts;
    }
  }
}

TEST(StreamPartition, IsTheSameForAnyNumberOfThreadsAndFollowsTheSeed) {
  const Sampled sampled = communities();
  for (const int parts : {4, 20}) {
    const Assignment one = sampled.partition(parts, 5, 1);
    EXPECT_EQ(one, sampled.partition(parts, 5, 2));
    EXPECT_EQ(one, sampled.partition(parts, 5, 5));
    EXPECT_EQ(one, sampled.partition(parts, 5, 1));
    EXPECT_NE(one, sampled.partition(parts, 6, 1));
  }
}

/// Edges that lead one way only: a source is known to its cluster by its drawn out-edges alone.
TEST(StreamPartition, SeesEdgesFromBothEnds) {
  std::vector<Edge> edges;
  for (std::uint64_t v = 0; v < kNodes; ++v) {
    // Groups by remainder; the first node of each has no out-edges, the others no in-edges.
    if (v >= 500) edges.emplace_back(v, v % 500);
  }
  const Sampled sampled(kNodes, edges);
  for (const int parts : {4, 20}) {
    const Quality quality = sampled.measure(sampled.partition(parts), parts);
    EXPECT_LT(quality.cut_fraction, 0.1) << parts;
  }
}

TEST(StreamPartition, TakesOddGraphs) {
  struct Case {
    std::uint64_t nodes;
    std::vector<Edge> edges;
  };
  std::vector<Edge> star, parallel;
  for (std::uint64_t v = 1; v < 300; ++v) star.emplace_back(v, 0);
  for (std::uint64_t i = 0; i < 500; ++i) parallel.emplace_back(i % 3, 1);
  const std::vector<Case> cases{{90, {}},                       // no edges
                                {90, {{3, 3}, {4, 4}}},         // loops only
                                {90, {{0, 1}}},                 // one edge, isolated nodes
                                {8, {{0, 1}, {1, 2}, {2, 0}}},  // as many nodes as parts
                                {300, star},
                                {200, parallel}};
  for (const Case& c : cases) {
    const MemoryCsc csc = make_csc(c.nodes, c.edges);
    for (const auto& train : {std::vector<std::uint64_t>{}, std::vector<std::uint64_t>{1, 2}}) {
      const PresampledBatches batches(csc.view(), train, {.fanout = {2, 2}});
      const PresampleCounts counts = count_samples(csc.view(), train, batches, 2);
      for (const int parts : {2, 3, 8}) {
        expect_covers(stream_partition(csc.view(), counts, {.parts = parts}), c.nodes, parts);
      }
    }
  }
}

TEST(StreamPartition, RefusesFewerNodesThanParts) {
  const Sampled sampled(20, {{0, 1}});
  EXPECT_THROW(sampled.partition(21), UsageError);
}

}  // namespace
}  // namespace gsplit
