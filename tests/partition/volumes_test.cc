// Volumes against a plain count with sets, worker by worker.
#include "partition/volumes.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "kernels/base/philox.h"
#include "tests/partition/graphs.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kNodes = 500;
constexpr std::uint64_t kSeed = 7;

/// Sampled in-neighbours by destination, seeds' layer first; and the whole frontier.
struct Batch {
  std::vector<std::map<std::uint64_t, std::vector<std::uint64_t>>> layers;
};

std::vector<Batch> record(const CscView& graph, const PresampledBatches& batches) {
  std::vector<Batch> recorded(1);
  batches.replay({.layer =
                      [&](const PresampledLayer& sample) {
                        auto& layer = recorded.back().layers.emplace_back();
                        for (std::size_t i = 0; i < sample.destinations.size(); ++i) {
                          auto& sources = layer[sample.destinations[i]];
                          for (auto e = sample.offsets[i]; e < sample.offsets[i + 1]; ++e) {
                            sources.push_back(graph.neighbor(sample.edges[e]));
                          }
                        }
                      },
                  .inputs = [&](std::span<const std::uint64_t>) { recorded.emplace_back(); }});
  recorded.pop_back();
  return recorded;
}

/// Slice of each seed: equal parts of a random order.
std::map<std::uint64_t, int> slices(const Batch& batch, std::uint32_t step, int groups) {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> order;
  for (const auto& [node, sources] : batch.layers.front()) {
    order.emplace_back(
        draw({.seed = kSeed, .step = step, .purpose = Purpose::kPresampling}, node, 0).word[0],
        node);
  }
  std::sort(order.begin(), order.end());
  std::map<std::uint64_t, int> slice;
  for (std::size_t i = 0; i < order.size(); ++i) {
    slice[order[i].second] = static_cast<int>(i * static_cast<std::size_t>(groups) / order.size());
  }
  return slice;
}

void add(Volume& volume, const std::vector<double>& workers) {
  volume.total += std::accumulate(workers.begin(), workers.end(), 0.0);
  volume.largest += *std::max_element(workers.begin(), workers.end());
}

struct Expected {
  const VolumeOptions& options;
  Volumes sums;
  std::vector<double> none() const {
    return std::vector<double>(static_cast<std::size_t>(options.groups * options.parts), 0);
  }
  std::size_t worker(int group, std::uint64_t node) const {
    return static_cast<std::size_t>(group * options.parts + owner(node));
  }
  int owner(std::uint64_t node) const { return options.parts == 1 ? 0 : options.assignment[node]; }

  void count(const Batch& batch, std::uint32_t step) {
    const std::map<std::uint64_t, int> slice = slices(batch, step, options.groups);
    std::vector<std::set<std::uint64_t>> frontier(static_cast<std::size_t>(options.groups));
    for (const auto& [node, group] : slice) frontier[static_cast<std::size_t>(group)].insert(node);
    sums.layers.resize(batch.layers.size());
    for (std::size_t depth = 0; depth < batch.layers.size(); ++depth) {
      count_layer(batch.layers[depth], sums.layers[batch.layers.size() - 1 - depth], frontier);
    }
    std::vector<double> inputs = none(), cached = none();
    for (int g = 0; g < options.groups; ++g) {
      for (const std::uint64_t node : frontier[static_cast<std::size_t>(g)]) {
        ++inputs[worker(g, node)];
        if (!options.cached.empty()) cached[worker(g, node)] += options.cached[node];
      }
    }
    add(sums.input_rows, inputs);
    add(sums.cached_rows, cached);
    ++sums.steps;
  }

  void count_layer(const std::map<std::uint64_t, std::vector<std::uint64_t>>& sampled,
                   LayerVolumes& layer, std::vector<std::set<std::uint64_t>>& frontier) const {
    std::vector<double> destinations = none(), edges = none(), own = none(), pulls = none(),
                        pushes = none();
    for (int g = 0; g < options.groups; ++g) {
      std::set<std::uint64_t>& nodes = frontier[static_cast<std::size_t>(g)];
      std::set<std::pair<std::uint64_t, std::size_t>> pulled;
      std::set<std::pair<std::uint64_t, int>> pushed;
      std::set<std::uint64_t> below = nodes;
      for (const std::uint64_t node : nodes) {
        const std::size_t w = worker(g, node);
        ++destinations[w];
        for (const std::uint64_t source : sampled.at(node)) {
          ++edges[w];
          below.insert(source);
          if (owner(source) == owner(node)) continue;
          if (pulled.emplace(source, w).second) ++pulls[w];
          if (pushed.emplace(node, owner(source)).second) ++pushes[w];
        }
      }
      nodes = below;
      for (const std::uint64_t node : nodes) ++own[worker(g, node)];
    }
    add(layer.destinations, destinations);
    add(layer.edges, edges);
    add(layer.own_rows, own);
    add(layer.pull_rows, pulls);
    add(layer.push_rows, pushes);
  }
};

void expect_equal(const Volume& actual, const Volume& sum, std::uint32_t steps) {
  EXPECT_DOUBLE_EQ(actual.total, sum.total / steps);
  EXPECT_DOUBLE_EQ(actual.largest, sum.largest / steps);
}

/// Groups, parts.
class VolumesOf : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(VolumesOf, EqualAPlainCount) {
  const auto [groups, parts] = GetParam();
  const test::MemoryCsc csc = test::make_csc(kNodes, test::community_edges(kNodes, 5, 8, 0.7, 3));
  std::vector<std::uint64_t> train;
  for (std::uint64_t v = 0; v < kNodes; v += 3) train.push_back(v);
  const PresampledBatches batches(csc.view(), train, {.fanout = {5, 4, 3}, .batch_size = 50});
  ASSERT_EQ(batches.size(), 4u);  // the last one is smaller
  std::vector<PartId> assignment;
  std::vector<std::uint8_t> cached;
  for (std::uint64_t v = 0; v < kNodes; ++v) {
    assignment.push_back(static_cast<PartId>(v * 7919 % 13 % static_cast<std::uint64_t>(parts)));
    cached.push_back(v % 4 == 0);
  }
  const VolumeOptions options{
      .groups = groups, .assignment = assignment, .parts = parts, .cached = cached, .seed = kSeed};
  const Volumes volumes = count_volumes(csc.view(), batches, options);

  Expected expected{.options = options, .sums = {}};
  const std::vector<Batch> recorded = record(csc.view(), batches);
  for (std::uint32_t step = 0; step < recorded.size(); ++step) expected.count(recorded[step], step);
  ASSERT_EQ(volumes.steps, 4u);
  expect_equal(volumes.input_rows, expected.sums.input_rows, 4);
  expect_equal(volumes.cached_rows, expected.sums.cached_rows, 4);
  ASSERT_EQ(volumes.layers.size(), 3u);
  for (std::size_t l = 0; l < 3; ++l) {
    SCOPED_TRACE(l);
    expect_equal(volumes.layers[l].destinations, expected.sums.layers[l].destinations, 4);
    expect_equal(volumes.layers[l].edges, expected.sums.layers[l].edges, 4);
    expect_equal(volumes.layers[l].own_rows, expected.sums.layers[l].own_rows, 4);
    expect_equal(volumes.layers[l].pull_rows, expected.sums.layers[l].pull_rows, 4);
    expect_equal(volumes.layers[l].push_rows, expected.sums.layers[l].push_rows, 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, VolumesOf,
                         testing::Values(std::tuple(1, 1), std::tuple(1, 4), std::tuple(4, 1),
                                         std::tuple(2, 3), std::tuple(8, 8), std::tuple(64, 1),
                                         std::tuple(1, 64)));

}  // namespace
}  // namespace gsplit
