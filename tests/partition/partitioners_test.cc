// Presampling, the partitioners and quality, on graphs in memory.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "kernels/sampling.h"
#include "partition/metis_partitioner.h"
#include "partition/presample.h"
#include "partition/quality.h"
#include "partition/simple_partitioners.h"
#include "partition/stream_partitioner.h"
#include "tests/partition/graphs.h"

namespace gsplit {
namespace {

using test::Edge;
using test::make_csc;
using test::MemoryCsc;

constexpr std::uint64_t kNodes = 1501;

/// A planted graph with its training nodes and their presample.
struct Sampled {
  explicit Sampled(int threads = 2, std::vector<std::int32_t> fanout = {6, 4},
                   std::uint64_t nodes = kNodes)
      : csc(make_csc(nodes, test::community_edges(nodes, 8, 12, 0.9, 7))),
        train(test::describe(nodes).train.nodes),
        batches(csc.view(), train,
                {.fanout = std::move(fanout), .batch_size = 64, .seed = 3, .threads = threads}),
        counts(count_samples(csc.view(), train, batches, threads)) {}

  MemoryCsc csc;
  std::vector<std::uint64_t> train;
  PresampledBatches batches;
  PresampleCounts counts;
};

/// Every replayed layer, copied.
struct Layer {
  std::vector<std::uint64_t> destinations, offsets;
  std::vector<std::int64_t> edges;
};
struct Batch {
  std::vector<Layer> layers;
  std::vector<std::uint64_t> inputs;
};
std::vector<Batch> record(const PresampledBatches& batches) {
  std::vector<Batch> all(1);
  batches.replay({.layer =
                      [&](const PresampledLayer& sample) {
                        all.back().layers.push_back(
                            {{sample.destinations.begin(), sample.destinations.end()},
                             {sample.offsets.begin(), sample.offsets.end()},
                             {sample.edges.begin(), sample.edges.end()}});
                      },
                  .inputs =
                      [&](std::span<const std::uint64_t> inputs) {
                        all.back().inputs.assign(inputs.begin(), inputs.end());
                        all.emplace_back();
                      }});
  all.pop_back();
  return all;
}

TEST(Presample, AnEpochUsesEachTrainingNodeOnce) {
  const Sampled sampled;
  std::vector<std::uint64_t> seeds;
  for (const Batch& batch : record(sampled.batches)) {
    const auto& first = batch.layers.front().destinations;
    EXPECT_LE(first.size(), 64u);
    seeds.insert(seeds.end(), first.begin(), first.end());
  }
  std::sort(seeds.begin(), seeds.end());
  std::vector<std::uint64_t> train = sampled.train;
  std::sort(train.begin(), train.end());
  EXPECT_EQ(seeds, train);
}

TEST(Presample, FrontierGrowsBySampledNeighbours) {
  const Sampled sampled;
  const CscView graph = sampled.csc.view();
  for (const Batch& batch : record(sampled.batches)) {
    ASSERT_EQ(batch.layers.size(), 2u);
    for (std::size_t l = 0; l < 2; ++l) {
      const Layer& layer = batch.layers[l];
      std::set<std::uint64_t> next(layer.destinations.begin(), layer.destinations.end());
      for (std::size_t i = 0; i < layer.destinations.size(); ++i) {
        const std::uint64_t v = layer.destinations[i];
        const auto degree = static_cast<std::uint64_t>(graph.indptr[v + 1] - graph.indptr[v]);
        ASSERT_EQ(layer.offsets[i + 1] - layer.offsets[i],
                  std::min<std::uint64_t>(degree, l == 0 ? 6 : 4));
        for (std::uint64_t e = layer.offsets[i]; e < layer.offsets[i + 1]; ++e) {
          ASSERT_TRUE(layer.edges[e] >= graph.indptr[v] && layer.edges[e] < graph.indptr[v + 1]);
          if (e > layer.offsets[i]) {
            ASSERT_LT(layer.edges[e - 1], layer.edges[e]);
          }
          next.insert(graph.neighbor(layer.edges[e]));
        }
      }
      const auto& found = l == 0 ? batch.layers[1].destinations : batch.inputs;
      EXPECT_EQ(found, std::vector<std::uint64_t>(next.begin(), next.end()));
    }
  }
}

TEST(Presample, CountsAreThoseOfTheReplay) {
  const Sampled sampled;
  std::vector<std::uint16_t> edges(sampled.counts.edge_samples.size(), 0);
  std::vector<std::uint64_t> compute(kNodes, 0);
  std::vector<std::uint32_t> inputs(kNodes, 0);
  for (const Batch& batch : record(sampled.batches)) {
    for (const Layer& layer : batch.layers) {
      for (const std::int64_t e : layer.edges) ++edges[static_cast<std::size_t>(e)];
      for (std::size_t i = 0; i < layer.destinations.size(); ++i) {
        compute[layer.destinations[i]] += layer.offsets[i + 1] - layer.offsets[i];
      }
    }
    for (const std::uint64_t v : batch.inputs) ++inputs[v];
  }
  EXPECT_EQ(sampled.counts.edge_samples, edges);
  EXPECT_EQ(sampled.counts.compute, compute);
  EXPECT_EQ(sampled.counts.input_rows, inputs);
  const auto& seeds = sampled.counts.is_seed;
  EXPECT_EQ(std::accumulate(seeds.begin(), seeds.end(), std::size_t{0}), sampled.train.size());
}

TEST(Presample, IsTheSameForAnyNumberOfThreads) {
  const Sampled one(1), five(5);
  EXPECT_EQ(one.counts.edge_samples, five.counts.edge_samples);
  EXPECT_EQ(one.counts.compute, five.counts.compute);
  EXPECT_EQ(one.counts.input_rows, five.counts.input_rows);
}

TEST(Presample, FullFanoutTakesEveryEdgeOfTheFrontier) {
  const Sampled sampled(2, {kFullFanout});
  for (std::uint64_t v = 0; v < kNodes; ++v) {
    const std::int64_t degree = sampled.csc.indptr[v + 1] - sampled.csc.indptr[v];
    const bool trains = v % 3 == 0;
    EXPECT_EQ(sampled.counts.compute[v], trains ? static_cast<std::uint64_t>(degree) : 0u);
  }
}

/// Times that each edge of the planted graph is presampled, 30 batches of one layer.
std::vector<std::uint16_t> edge_samples(Sampler sampler, std::int32_t fanout, int threads) {
  const Sampled sampled;
  const std::vector<float> weights = [&] {
    std::vector<float> all(sampled.csc.indices.size());
    for (std::size_t e = 0; e < all.size(); ++e) all[e] = static_cast<float>(e % 3);
    return all;
  }();
  CscView graph = sampled.csc.view();
  graph.weights = weights;
  const PresampledBatches batches(
      graph, sampled.train,
      {.fanout = {fanout}, .sampler = sampler, .batch_size = 64, .threads = threads});
  return count_samples(graph, sampled.train, batches, threads).edge_samples;
}

TEST(Presample, DrawsWithTheSamplerOfTraining) {
  for (const Sampler sampler : {Sampler::kLabor, Sampler::kWeighted}) {
    EXPECT_EQ(edge_samples(sampler, 4, 1), edge_samples(sampler, 4, 5));
    EXPECT_NE(edge_samples(sampler, 4, 1), edge_samples(Sampler::kUniform, 4, 1));
  }
  EXPECT_EQ(edge_samples(Sampler::kLabor, kFullFanout, 1),
            edge_samples(Sampler::kUniform, kFullFanout, 1));
  // Of a batch of one layer: all edges of positive weight and no other.
  const auto all = edge_samples(Sampler::kUniform, kFullFanout, 1);
  const auto positive = edge_samples(Sampler::kWeighted, kFullFanout, 1);
  for (std::size_t e = 0; e < all.size(); ++e) EXPECT_EQ(positive[e], e % 3 == 0 ? 0 : all[e]);
}

TEST(Presample, TakesAtMostTheBatchesItIsAllowed) {
  const Sampled sampled;
  const PresampledBatches few(sampled.csc.view(), sampled.train,
                              {.fanout = {2}, .batch_size = 64, .max_batches = 3});
  EXPECT_EQ(record(few).size(), 3u);
  const PresampledBatches none(sampled.csc.view(), {}, {.fanout = {2}});
  EXPECT_EQ(record(none).size(), 0u);
}

TEST(Presample, RefusesBadFanouts) {
  EXPECT_NO_THROW(check_fanout(std::vector<std::int32_t>{15, -1}));
  EXPECT_THROW(check_fanout(std::vector<std::int32_t>{}), UsageError);
  EXPECT_THROW(check_fanout(std::vector<std::int32_t>{15, 0}), UsageError);
  EXPECT_THROW(check_fanout(std::vector<std::int32_t>{-2}), UsageError);
  EXPECT_THROW(check_fanout(std::vector<std::int32_t>(256, 1)), UsageError);
}

TEST(Symmetrize, MergesBothDirectionsWithoutLoopsAndDuplicates) {
  const auto edges = test::community_edges(301, 4, 5, 0.5, 1);
  const MemoryCsc csc = make_csc(301, edges);
  std::vector<std::uint16_t> samples(edges.size());
  for (std::size_t e = 0; e < samples.size(); ++e) samples[e] = static_cast<std::uint16_t>(e % 5);
  std::map<Edge, std::int32_t> expected;
  for (std::uint64_t v = 0; v < 301; ++v) {
    for (std::int64_t e = csc.indptr[v]; e < csc.indptr[v + 1]; ++e) {
      const std::uint64_t u = csc.view().neighbor(e);
      if (u == v) continue;
      for (const Edge& edge : {Edge{u, v}, Edge{v, u}}) {
        expected.try_emplace(edge, 1).first->second += samples[static_cast<std::size_t>(e)];
      }
    }
  }
  const SymmetricGraph symmetric = symmetrize(csc.view(), samples, 3);
  std::map<Edge, std::int32_t> found;
  for (std::uint64_t v = 0; v < 301; ++v) {
    for (auto i = symmetric.xadj[v]; i < symmetric.xadj[v + 1]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const bool fresh = found
                             .emplace(Edge{v, static_cast<std::uint64_t>(symmetric.adjncy[at])},
                                      symmetric.adjwgt[at])
                             .second;
      EXPECT_TRUE(fresh);
    }
  }
  EXPECT_EQ(found, expected);
}

TEST(MetisLimits, OverflowNamesTheNumbersAndTheWayOut) {
  EXPECT_NO_THROW(check_metis_limits(1000, 2147483647));
  try {
    check_metis_limits(111059956, 3231371744);
    FAIL() << "not refused";
  } catch (const UsageError& error) {
    const std::string text = error.what();
    for (const char* part : {"111059956", "3231371744", "2147483647", "--method stream"}) {
      EXPECT_NE(text.find(part), std::string::npos) << text;
    }
  }
  EXPECT_THROW(check_metis_limits(std::uint64_t{1} << 31, 10), UsageError);
}

TEST(ScaleLoads, KeepsSumsBelowTwoToThe31AndSmallLoadsPositive) {
  const std::vector<std::uint64_t> small{0, 3, 5};
  EXPECT_EQ(scale_loads(small, 1).values, (std::vector<std::int32_t>{0, 3, 5}));
  std::vector<std::uint64_t> large(1000, std::uint64_t{1} << 40);
  large[0] = 1;
  large[1] = 0;
  const std::vector<std::int32_t> scaled = scale_loads(large, 1).values;
  EXPECT_EQ(scaled[0], 1);
  EXPECT_EQ(scaled[1], 0);
  const auto sum = std::accumulate(scaled.begin(), scaled.end(), std::int64_t{0});
  EXPECT_LE(sum, 2147483647);
  EXPECT_GE(sum, 2147000000);
}

TEST(ScaleLoads, LeavesOutLoadsThatNoNodeCarries) {
  const BalancedLoads some = scale_loads(std::vector<std::uint64_t>{0, 7, 0, 5}, 2);
  EXPECT_EQ(some.constraints, 1);
  EXPECT_EQ(some.values, (std::vector<std::int32_t>{7, 5}));
  const BalancedLoads none = scale_loads(std::vector<std::uint64_t>(6, 0), 2);
  EXPECT_EQ(none.constraints, 1);
  EXPECT_EQ(none.values, (std::vector<std::int32_t>{1, 1, 1}));
}

/// Each part has a node and every part is below `parts`.
void expect_covers(const Assignment& assignment, std::uint64_t nodes, int parts) {
  ASSERT_EQ(assignment.size(), nodes);
  ASSERT_LT(*std::max_element(assignment.begin(), assignment.end()), parts);
  for (const std::uint64_t size : part_sizes(assignment, parts)) EXPECT_GT(size, 0u);
}

TEST(MetisPartition, BeatsRandomAndBalancesEveryLoad) {
  const Sampled sampled;
  for (const int parts : {2, 3, 4, 8}) {
    const auto measure = [&](const Assignment& assignment) {
      return measure_quality(sampled.csc.view(), assignment, parts, sampled.batches, sampled.counts,
                             2);
    };
    const Assignment metis =
        metis_partition(sampled.csc.view(), sampled.counts, {.parts = parts, .threads = 2});
    expect_covers(metis, kNodes, parts);
    const Quality good = measure(metis);
    const Quality baseline = measure(random_partition(kNodes, parts, 0));
    EXPECT_LT(good.cut_fraction, 0.5 * baseline.cut_fraction) << parts;
    EXPECT_LT(good.shuffle_rows, 0.7 * baseline.shuffle_rows) << parts;
    EXPECT_LT(good.halo_rows, baseline.halo_rows) << parts;
    EXPECT_LT(good.load_max_avg.edges, 1.15) << parts;
    EXPECT_LT(good.load_max_avg.input_rows, 1.15) << parts;
    EXPECT_LT(good.load_max_avg.seeds, 1.15) << parts;
  }
}

TEST(NoSamples, LeavePartitionersWithTheGraphAlone) {
  const Sampled sampled;
  const PresampleCounts none = no_samples(sampled.csc.view());
  const SymmetricGraph graph = symmetrize(sampled.csc.view(), none.edge_samples, 2);
  EXPECT_EQ(graph.adjwgt, std::vector<std::int32_t>(graph.adjncy.size(), 1));
  for (const int parts : {2, 3, 8}) {
    for (const Assignment& assignment :
         {metis_partition(sampled.csc.view(), none, {.parts = parts}),
          stream_partition(sampled.csc.view(), none, {.parts = parts})}) {
      expect_covers(assignment, kNodes, parts);
      const std::vector<std::uint64_t> sizes = part_sizes(assignment, parts);
      EXPECT_LT(*std::max_element(sizes.begin(), sizes.end()), 1.1 * kNodes / parts) << parts;
      const Quality quality = measure_quality(sampled.csc.view(), assignment, parts,
                                              sampled.batches, sampled.counts, 2);
      const Quality random = measure_quality(sampled.csc.view(), random_partition(kNodes, parts, 0),
                                             parts, sampled.batches, sampled.counts, 2);
      EXPECT_LT(quality.cut_fraction, 0.6 * random.cut_fraction) << parts;
    }
  }
}

TEST(InDegrees, GivePartsEquallyManyEdges) {
  const Sampled sampled;
  const CscView graph = sampled.csc.view();
  const PresampleCounts counts = in_degrees(graph);
  for (const int parts : {2, 3, 8}) {
    for (const Assignment& assignment : {metis_partition(graph, counts, {.parts = parts}),
                                         stream_partition(graph, counts, {.parts = parts})}) {
      std::vector<std::int64_t> edges(static_cast<std::size_t>(parts), 0);
      for (std::size_t v = 0; v < graph.num_nodes(); ++v) {
        edges[assignment[v]] += graph.indptr[v + 1] - graph.indptr[v];
      }
      EXPECT_LT(*std::max_element(edges.begin(), edges.end()),
                1.15 * static_cast<double>(graph.num_edges()) / parts)
          << parts;
    }
  }
}

TEST(MetisPartition, IsTheSameForAnyNumberOfThreadsAndFollowsTheSeed) {
  const Sampled one(1), four(4);
  const auto partition = [](const Sampled& sampled, std::uint64_t seed, int threads) {
    return metis_partition(sampled.csc.view(), sampled.counts,
                           {.parts = 4, .seed = seed, .threads = threads});
  };
  EXPECT_EQ(partition(one, 5, 1), partition(four, 5, 4));
  EXPECT_NE(partition(one, 5, 1), partition(one, 6, 1));
}

// METIS draws from rand(), and so may any other thread of the process, such as gRPC's.
TEST(MetisPartition, IsTheSameWhileOtherThreadsDraw) {
  const Sampled sampled;
  const auto partition = [&] {
    return metis_partition(sampled.csc.view(), sampled.counts, {.parts = 4, .seed = 5});
  };
  const Assignment undisturbed = partition();
  std::atomic<bool> done = false;
  std::thread noise([&] {
    while (!done) std::rand();
  });
  for (int i = 0; i < 5; ++i) EXPECT_EQ(partition(), undisturbed);
  done = true;
  noise.join();
}

TEST(MetisPartition, TakesOddGraphs) {
  struct Case {
    std::uint64_t nodes;
    std::vector<Edge> edges;
  };
  const std::vector<Case> cases{{90, {}},                        // no edges
                                {90, {{3, 3}, {4, 4}}},          // loops only
                                {90, {{0, 1}}},                  // one edge, isolated nodes
                                {64, {{0, 1}, {1, 2}, {2, 0}}},  // the fewest that METIS gets
                                {8, {{0, 1}, {1, 2}, {2, 0}}},   // as many nodes as parts
                                {99, {{0, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 5}, {0, 6}}}};
  for (const Case& c : cases) {
    const MemoryCsc csc = make_csc(c.nodes, c.edges);
    for (const auto& train : {std::vector<std::uint64_t>{}, std::vector<std::uint64_t>{1, 2}}) {
      const PresampledBatches batches(csc.view(), train, {.fanout = {2, 2}});
      const PresampleCounts counts = count_samples(csc.view(), train, batches, 2);
      for (const int parts : {2, 3, 8}) {
        expect_covers(metis_partition(csc.view(), counts, {.parts = parts}), c.nodes, parts);
      }
    }
  }
}

TEST(MetisPartition, RefusesFewerNodesThanParts) {
  const Sampled sampled(1, {2}, 20);
  EXPECT_THROW(metis_partition(sampled.csc.view(), sampled.counts, {.parts = 21}), UsageError);
}

TEST(Assignment, EmptyPartsTakeNodesOfTheLargest) {
  Assignment assignment{1, 1, 1, 3, 1, 3};
  repair_empty_parts(assignment, 5);
  EXPECT_EQ(assignment, (Assignment{1, 4, 2, 3, 0, 3}));
}

TEST(Assignment, RefusesImpossiblePartCounts) {
  EXPECT_NO_THROW(check_part_count(3, 3));
  EXPECT_THROW(check_part_count(4, 3), UsageError);
  EXPECT_THROW(check_part_count(0, 3), UsageError);
  EXPECT_THROW(check_part_count(kMaxParts + 1, std::uint64_t{1} << 30), UsageError);
}

TEST(RandomPartition, IsBalancedAndFollowsTheSeed) {
  const Assignment assignment = random_partition(1000, 7, 1);
  for (const std::uint64_t size : part_sizes(assignment, 7)) {
    EXPECT_TRUE(size == 142 || size == 143);
  }
  EXPECT_EQ(assignment, random_partition(1000, 7, 1));
  EXPECT_NE(assignment, random_partition(1000, 7, 2));
  EXPECT_THROW(random_partition(3, 4, 0), UsageError);
}

TEST(RangePartition, CutsByNodesAndEdges) {
  const MemoryCsc csc = make_csc(kNodes, test::community_edges(kNodes, 8, 12, 0.9, 7));
  const Assignment assignment = range_partition(csc.view(), 5);
  EXPECT_TRUE(std::is_sorted(assignment.begin(), assignment.end()));
  std::vector<std::uint64_t> load(5, 0);
  for (std::uint64_t v = 0; v < kNodes; ++v) {
    load[assignment[v]] += 1 + static_cast<std::uint64_t>(csc.indptr[v + 1] - csc.indptr[v]);
  }
  const auto [least, most] = std::minmax_element(load.begin(), load.end());
  EXPECT_LE(*most - *least, 40u);
}

TEST(RangePartition, GivesEveryPartANodeWhereOneHoldsAllEdges) {
  for (const std::uint64_t hub : {0, 3, 5}) {
    const MemoryCsc csc = make_csc(6, std::vector<Edge>(100, Edge{1, hub}));
    for (const int parts : {2, 5, 6}) expect_covers(range_partition(csc.view(), parts), 6, parts);
  }
}

class AssignmentFile : public ::testing::Test {
 protected:
  template <class T>
  std::filesystem::path write(const std::vector<T>& values, std::vector<std::uint64_t> shape) {
    write_npy<T>(directory_ / "parts.npy", values, std::move(shape));
    return directory_ / "parts.npy";
  }
  void expect_refused(const std::filesystem::path& file, const std::string& reason) {
    try {
      read_assignment(file, 4, 3);
      ADD_FAILURE() << "not refused: " << reason;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("parts.npy"), std::string::npos) << error.what();
    }
  }
  TemporaryDirectory directory_;
};

TEST_F(AssignmentFile, IsReadInAnyIntegerType) {
  const Assignment expected{2, 0, 1, 2};
  EXPECT_EQ(read_assignment(write<std::int8_t>({2, 0, 1, 2}, {4}), 4, 3), expected);
  EXPECT_EQ(read_assignment(write<std::uint64_t>({2, 0, 1, 2}, {4}), 4, 3), expected);
}

TEST_F(AssignmentFile, IsValidated) {
  expect_refused(write<std::int64_t>({0, 1, 2}, {3}), "shape");
  expect_refused(write<std::int64_t>({0, 1, 2, 0}, {2, 2}), "shape");
  expect_refused(write<std::int64_t>({0, 1, 2, 3}, {4}), "node 3 has part 3");
  expect_refused(write<std::int64_t>({0, -1, 2, 1}, {4}), "node 1 has part -1");
  expect_refused(write<std::int64_t>({0, 2, 2, 0}, {4}), "part 1 has no nodes");
  expect_refused(write<float>({0, 1, 2, 0}, {4}), "integer");
  expect_refused(directory_ / "no" / "parts.npy", "cannot open");
}

/// quality.json's numbers once more, straight from their definitions.
Quality brute_force(const CscView& graph, const Assignment& part, int parts,
                    const PresampledBatches& batches, const Sampled& sampled) {
  Quality quality{.parts = parts};
  std::set<Edge> halo;
  std::uint64_t cut = 0;
  for (std::uint64_t v = 0; v < graph.num_nodes(); ++v) {
    for (std::int64_t e = graph.indptr[v]; e < graph.indptr[v + 1]; ++e) {
      const std::uint64_t u = graph.neighbor(e);
      if (part[u] == part[v]) continue;
      ++cut;
      halo.emplace(u, part[v]);
    }
  }
  quality.cut_fraction = static_cast<double>(cut) / static_cast<double>(graph.num_edges());
  quality.halo_rows = halo.size();
  std::vector<double> edges(static_cast<std::size_t>(parts)), inputs(edges), seeds(edges);
  std::uint64_t shuffled = 0;
  for (const Batch& batch : record(batches)) {
    for (const Layer& layer : batch.layers) {
      std::set<Edge> pairs;
      for (std::size_t i = 0; i < layer.destinations.size(); ++i) {
        const PartId to = part[layer.destinations[i]];
        for (std::uint64_t e = layer.offsets[i]; e < layer.offsets[i + 1]; ++e) {
          const std::uint64_t u = graph.neighbor(layer.edges[e]);
          if (part[u] != to) pairs.emplace(u, to);
          edges[to] += 1;
        }
      }
      shuffled += pairs.size();
    }
    for (const std::uint64_t v : batch.inputs) inputs[part[v]] += 1;
  }
  for (const std::uint64_t v : sampled.train) seeds[part[v]] += 1;
  quality.shuffle_rows = static_cast<double>(shuffled) / batches.size();
  const auto balance = [](const std::vector<double>& load) {
    return *std::max_element(load.begin(), load.end()) * static_cast<double>(load.size()) /
           std::accumulate(load.begin(), load.end(), 0.0);
  };
  quality.load_max_avg = {balance(edges), balance(inputs), balance(seeds)};
  return quality;
}

TEST(Quality, EqualsABruteForceCount) {
  const Sampled sampled(2, {5, 3}, 701);
  for (const int parts : {1, 2, 3, 8, 100}) {
    Assignment assignment = random_partition(701, parts, 4);
    for (std::size_t v = 0; v < 200; ++v) assignment[v] = 0;  // unequal loads
    const Quality expected =
        brute_force(sampled.csc.view(), assignment, parts, sampled.batches, sampled);
    for (const int threads : {1, 3}) {
      const Quality found = measure_quality(sampled.csc.view(), assignment, parts, sampled.batches,
                                            sampled.counts, threads);
      EXPECT_EQ(found.halo_rows, expected.halo_rows);
      EXPECT_DOUBLE_EQ(found.cut_fraction, expected.cut_fraction);
      EXPECT_DOUBLE_EQ(found.shuffle_rows, expected.shuffle_rows);
      EXPECT_DOUBLE_EQ(found.load_max_avg.edges, expected.load_max_avg.edges);
      EXPECT_DOUBLE_EQ(found.load_max_avg.input_rows, expected.load_max_avg.input_rows);
      EXPECT_DOUBLE_EQ(found.load_max_avg.seeds, expected.load_max_avg.seeds);
    }
  }
}

TEST(Quality, OfAGraphWithoutEdgesIsZero) {
  const MemoryCsc csc = make_csc(6, {});
  const PresampledBatches batches(csc.view(), {}, {.fanout = {2}});
  const PresampleCounts counts = count_samples(csc.view(), {}, batches, 1);
  const Quality quality =
      measure_quality(csc.view(), Assignment{0, 0, 1, 1, 2, 2}, 3, batches, counts, 2);
  EXPECT_EQ(quality.cut_fraction, 0);
  EXPECT_EQ(quality.halo_rows, 0u);
  EXPECT_EQ(quality.shuffle_rows, 0);
  EXPECT_EQ(quality.load_max_avg.edges, 1);
}

}  // namespace
}  // namespace gsplit
