// Split sampling against a reference that knows nothing of workers: the blocks of any number of
// workers and any ownership, read back in original ids, are the reference's; and each ShufflePlan
// moves the rows that its Block names.
#include "sampler/split_sampler.h"
#include "sampler/sampler_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <tuple>

#include "comm/world.h"
#include "kernels/base/labor.h"
#include "kernels/base/weighted_positions.h"
#include "tests/support/parts.h"

namespace gsplit {
namespace {

using namespace test;

/// One destination's sources in stored order, and the weights of their edges where there are some.
struct Row {
  std::vector<Id> sources;
  std::vector<float> weights;
  bool operator==(const Row&) const = default;
};

/// (layer, destination) -> its row, all in original ids.
using Blocks = std::map<std::pair<std::size_t, Id>, Row>;

/// Weights that tell all edges of a graph apart.
EdgeWeights distinct_weights(const Graph& graph) {
  EdgeWeights weights;
  float next = 0;
  for (const auto& row : graph) {
    std::vector<float>& of_row = weights.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) of_row.push_back(next++);
  }
  return weights;
}

/// Positions of v's neighbour list that the sampler draws. `steering`: kWeighted's.
std::vector<std::uint32_t> reference_positions(const Graph& graph, Id v, std::int32_t fanout,
                                               const DrawKey& key, Sampler sampler,
                                               const EdgeWeights& steering) {
  const auto degree = static_cast<std::uint32_t>(graph[v].size());
  std::vector<std::uint32_t> positions;
  if (sampler == Sampler::kLabor) {
    for (std::uint32_t i = 0; i < degree; ++i) {
      const double variate = labor_variate(key, OriginalId{graph[v][i]}) * 0x1p-32;
      if (fanout < 0 || variate * degree < fanout) positions.push_back(i);
    }
  } else if (sampler == Sampler::kWeighted) {
    std::vector<std::uint32_t> sums(degree);
    const std::uint32_t positive = accumulate_weights(steering[v], sums);
    positions.resize(sample_size(positive, fanout));
    weighted_positions(sums, positive, static_cast<std::uint32_t>(positions.size()), key,
                       OriginalId{v}, positions.data());
  } else {
    std::vector<std::uint64_t> bitmap;
    positions.resize(sample_size(degree, fanout));
    sample_positions(degree, static_cast<std::uint32_t>(positions.size()), key, OriginalId{v},
                     bitmap, positions.data());
  }
  return positions;
}

Blocks reference_blocks(const Graph& graph, const std::vector<Id>& seeds,
                        const std::vector<std::int32_t>& fanouts, DrawKey key,
                        const EdgeWeights& weights = {}, Sampler sampler = Sampler::kUniform,
                        const EdgeWeights& steering = {}) {
  Blocks blocks;
  std::set<Id> frontier(seeds.begin(), seeds.end());
  for (std::size_t l = fanouts.size(); l-- > 0;) {
    key.layer = static_cast<std::uint32_t>(l + 1);
    const std::set<Id> destinations = frontier;
    for (Id v : destinations) {
      Row& row = blocks[{l, v}];
      for (std::uint32_t position :
           reference_positions(graph, v, fanouts[l], key, sampler, steering)) {
        row.sources.push_back(graph[v][position]);
        if (!weights.empty()) row.weights.push_back(weights[v][position]);
      }
      frontier.insert(row.sources.begin(), row.sources.end());
    }
  }
  return blocks;
}

/// What the tests collect from all workers.
struct Collected {
  std::mutex mutex;
  Blocks blocks;
  std::size_t total_nodes = 0;
};

/// Original ids of a layer's source rows, the received ones fetched by the ShufflePlan itself.
std::vector<Id> source_ids(const SampledLayer& layer, std::span<const LocalId> nodes,
                           const Renumbered::Part& part, Communicator& communicator) {
  std::vector<Id> ids(layer.block.num_sources()), sent;
  for (std::size_t i = 0; i < layer.block.num_own; ++i) {
    ids[i] = value(part.original_ids[value(nodes[i])]);
  }
  for (RowIndex row : layer.plan.send_rows.span()) sent.push_back(ids.at(row));
  std::vector<std::size_t> send, receive;
  for (std::size_t count : layer.plan.send_counts) send.push_back(count * sizeof(Id));
  for (std::size_t count : layer.plan.receive_counts) receive.push_back(count * sizeof(Id));
  communicator.exchange({std::as_bytes(std::span(sent)), send,
                         std::as_writable_bytes(std::span(ids).subspan(layer.block.num_own)),
                         receive});
  return ids;
}

void collect(const MiniBatch& batch, const Renumbered::Part& part, Communicator& communicator,
             Collected& collected) {
  for (std::size_t l = 0; l < batch.layers.size(); ++l) {
    const Block& block = batch.layers[l].block;
    const auto ids = source_ids(batch.layers[l], batch.nodes.span(), part, communicator);
    const std::lock_guard lock(collected.mutex);
    EXPECT_EQ(std::set<Id>(ids.begin(), ids.end()).size(), ids.size())
        << "a source row stands twice";
    for (std::size_t i = 0; i < block.num_destinations; ++i) {
      Row row;
      for (RowIndex e = block.indptr.span()[i]; e < block.indptr.span()[i + 1]; ++e) {
        row.sources.push_back(ids.at(block.columns.span()[e]));
        if (block.weights.size() > 0) row.weights.push_back(block.weights.span()[e]);
      }
      const bool is_new = collected.blocks.emplace(std::pair{l, ids[i]}, row).second;
      EXPECT_TRUE(is_new) << "node " << ids[i] << " was sampled by two workers";
    }
  }
  const std::lock_guard lock(collected.mutex);
  collected.total_nodes += batch.nodes.size();
}

void run_worker(const Renumbered& graph, const std::vector<Id>& seeds, const SampleOptions& options,
                int threads, Communicator& communicator, Collected& collected) {
  const auto rank = static_cast<std::size_t>(communicator.rank());
  const Renumbered::Part& part = graph.parts[rank];
  const auto backend = make_cpu_backend(threads);
  const auto stream = backend->memory().create_stream();
  TopologyView topology = part.topology();
  const SamplerData data(options.sampler, topology, graph.bounds, communicator);
  if (options.sampler == Sampler::kWeighted) topology.edge_weights = {};  // they only steer
  SplitSampler sampler(topology, graph.bounds, *backend, communicator, data.view());
  const std::vector<LocalId> own = graph.owned(seeds, rank);
  sampler.sample(own, options, *stream);  // a sampler must be reusable
  collect(sampler.sample(own, options, *stream), part, communicator, collected);
}

class SplitSampling : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(SplitSampling, EqualsTheReferenceForAnyOwnership) {
  const int workers = std::get<0>(GetParam());
  const int threads = std::get<1>(GetParam());
  const Graph graph = random_graph(700, 5);
  const std::vector<Id> seeds{3, 11, 12, 50, 77, 123, 400, 401, 402, 403, 698, 699};
  for (const std::vector<std::int32_t>& fanouts :
       {std::vector<std::int32_t>{4}, {3, 5}, {2, 3, 40}, {kFullFanout, 2}}) {
    const SampleOptions options{.fanouts = fanouts, .key = {.seed = 99, .step = 17}};
    const Blocks expected = reference_blocks(graph, seeds, fanouts, options.key);
    for (std::uint64_t ownership = 0; ownership < 3; ++ownership) {
      const Renumbered parts =
          renumber(graph, random_owners(graph.size(), workers, ownership), workers);
      Collected collected;
      run_local_ranks(workers, std::chrono::seconds(20), [&](Communicator& communicator) {
        run_worker(parts, seeds, options, threads, communicator, collected);
      });
      ASSERT_EQ(collected.blocks, expected);
    }
  }
}

TEST_P(SplitSampling, DrawsTheSameEdgesOfAWeightedGraphAndTheirWeights) {
  const int workers = std::get<0>(GetParam());
  const int threads = std::get<1>(GetParam());
  const Graph graph = random_graph(700, 5);
  const EdgeWeights weights = distinct_weights(graph);
  const std::vector<Id> seeds{3, 11, 12, 50, 77, 123, 400, 401, 402, 403, 698, 699};
  const Renumbered parts =
      renumber(graph, random_owners(graph.size(), workers, 6), workers, weights);
  for (const std::vector<std::int32_t>& fanouts :
       {std::vector<std::int32_t>{4, 3}, {2, 40}, {kFullFanout, 2}}) {
    const SampleOptions options{.fanouts = fanouts, .key = {.seed = 99, .step = 17}};
    Collected collected;
    run_local_ranks(workers, std::chrono::seconds(20), [&](Communicator& communicator) {
      run_worker(parts, seeds, options, threads, communicator, collected);
    });
    EXPECT_EQ(collected.blocks, reference_blocks(graph, seeds, fanouts, options.key, weights));
    for (auto& [destination, row] : collected.blocks) row.weights.clear();
    EXPECT_EQ(collected.blocks, reference_blocks(graph, seeds, fanouts, options.key));
  }
}

TEST_P(SplitSampling, EqualsTheReferenceForEverySampler) {
  const int workers = std::get<0>(GetParam());
  const int threads = std::get<1>(GetParam());
  const Graph graph = random_graph(2000, 5);
  const EdgeWeights weights = random_weights(graph, 8);
  std::vector<Id> seeds;  // more than a chunk of destinations
  for (Id v = 0; v < 2000; v += 2) seeds.push_back(v);
  const Renumbered parts =
      renumber(graph, random_owners(graph.size(), workers, 6), workers, weights);
  for (const Sampler kind : {Sampler::kLabor, Sampler::kWeighted}) {
    for (const std::vector<std::int32_t>& fanouts :
         {std::vector<std::int32_t>{4, 3}, {2, 40}, {kFullFanout, 2}}) {
      const SampleOptions options{
          .fanouts = fanouts, .key = {.seed = 99, .step = 17}, .sampler = kind};
      Collected collected;
      run_local_ranks(workers, std::chrono::seconds(20), [&](Communicator& communicator) {
        run_worker(parts, seeds, options, threads, communicator, collected);
      });
      const EdgeWeights& kept = kind == Sampler::kLabor ? weights : EdgeWeights{};
      EXPECT_EQ(collected.blocks,
                reference_blocks(graph, seeds, fanouts, options.key, kept, kind, weights))
          << name_of(kind);
    }
  }
}

/// Distinct sources of one layer, over some steps.
double mean_sources(const Graph& graph, const std::vector<Id>& seeds, std::int32_t fanout,
                    Sampler sampler) {
  constexpr std::uint32_t kSteps = 20;
  std::size_t total = 0;
  for (std::uint32_t step = 0; step < kSteps; ++step) {
    std::set<Id> sources;
    for (const auto& [destination, row] :
         reference_blocks(graph, seeds, {fanout}, {.seed = 1, .step = step}, {}, sampler)) {
      sources.insert(row.sources.begin(), row.sources.end());
    }
    total += sources.size();
  }
  return static_cast<double>(total) / kSteps;
}

TEST(Samplers, LaborNeedsFewerSources) {
  const Graph graph = random_graph(300, 5);
  std::vector<Id> seeds;
  for (Id v = 0; v < 300; v += 2) seeds.push_back(v);
  EXPECT_LT(mean_sources(graph, seeds, 3, Sampler::kLabor),
            0.95 * mean_sources(graph, seeds, 3, Sampler::kUniform));
  EXPECT_EQ(mean_sources(graph, seeds, kFullFanout, Sampler::kLabor),
            mean_sources(graph, seeds, kFullFanout, Sampler::kUniform));
}

TEST_P(SplitSampling, LoadsEachNodeOnce) {
  const int workers = std::get<0>(GetParam());
  const int threads = std::get<1>(GetParam());
  const Graph graph = random_graph(500, 8);
  std::vector<Id> seeds;
  for (Id v = 0; v < 500; v += 9) seeds.push_back(v);
  const SampleOptions options{.fanouts = {5, 5}, .key = {.seed = 1, .step = 1}};
  std::set<Id> everyone(seeds.begin(), seeds.end());
  for (const auto& [destination, row] :
       reference_blocks(graph, seeds, options.fanouts, options.key)) {
    everyone.insert(row.sources.begin(), row.sources.end());
  }
  const Renumbered parts = renumber(graph, random_owners(graph.size(), workers, 4), workers);
  Collected collected;
  run_local_ranks(workers, std::chrono::seconds(20), [&](Communicator& communicator) {
    run_worker(parts, seeds, options, threads, communicator, collected);
  });
  EXPECT_EQ(collected.total_nodes, everyone.size());
}

TEST_P(SplitSampling, WorksWhereOneWorkerOwnsAllSeedsOrNothing) {
  const int workers = std::get<0>(GetParam());
  const int threads = std::get<1>(GetParam());
  const Graph graph = random_graph(200, 2);
  std::vector<int> owner(200, workers - 1);  // the others own nothing
  const SampleOptions options{.fanouts = {3, 3}, .key = {.seed = 1, .step = 1}};
  for (const std::vector<Id>& seeds : {std::vector<Id>{}, std::vector<Id>{5, 6}}) {
    const Renumbered parts = renumber(graph, owner, workers);
    Collected collected;
    run_local_ranks(workers, std::chrono::seconds(20), [&](Communicator& communicator) {
      run_worker(parts, seeds, options, threads, communicator, collected);
    });
    EXPECT_EQ(collected.blocks, reference_blocks(graph, seeds, options.fanouts, options.key));
  }
}

INSTANTIATE_TEST_SUITE_P(WorkersAndThreads, SplitSampling,
                         testing::Combine(testing::Values(1, 2, 3, 4, 8), testing::Values(1, 3)));

}  // namespace
}  // namespace gsplit
