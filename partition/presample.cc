#include "partition/presample.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/labor.h"
#include "kernels/base/philox.h"
#include "kernels/base/weighted_positions.h"
#include "kernels/sampling.h"
#include "partition/node_bitmap.h"

namespace gsplit {
namespace {

/// Draws one batch layer by layer; keeps its buffers from batch to batch.
class BatchSampler {
 public:
  BatchSampler(const CscView& graph, const PresampleOptions& options)
      : graph_(graph), options_(options), reached_(graph.num_nodes()) {
    if (options.sampler == Sampler::kWeighted) sum_weights();
  }

  void run(std::uint32_t batch, std::span<const std::uint64_t> seeds, const BatchVisitor& visitor) {
    frontier_.assign(seeds.begin(), seeds.end());
    std::sort(frontier_.begin(), frontier_.end());
    const auto layers = static_cast<std::uint32_t>(options_.fanout.size());
    for (std::uint32_t layer = layers; layer >= 1; --layer) {
      sample_layer(
          options_.fanout[layers - layer],
          {.seed = options_.seed, .step = batch, .purpose = Purpose::kPresampling, .layer = layer});
      if (visitor.layer) visitor.layer({frontier_, offsets_, edges_});
      expand_frontier();
    }
    if (visitor.inputs) visitor.inputs(frontier_);
  }

 private:
  std::uint32_t degree(std::uint64_t node) const {
    return static_cast<std::uint32_t>(graph_.indptr[node + 1] - graph_.indptr[node]);
  }

  void sum_weights() {
    weight_sums_.resize(graph_.num_edges());
    positive_edges_.resize(graph_.num_nodes());
#pragma omp parallel for num_threads(options_.threads) schedule(dynamic, 1024)
    for (std::size_t node = 0; node < positive_edges_.size(); ++node) {
      const auto begin = static_cast<std::size_t>(graph_.indptr[node]);
      positive_edges_[node] =
          accumulate_weights(graph_.weights.subspan(begin, degree(node)),
                             std::span(weight_sums_).subspan(begin, degree(node)));
    }
  }

  void sample_layer(std::int32_t fanout, const DrawKey& key) {
    drawn_.resize(frontier_.size());
    offsets_.assign(1, 0);
#pragma omp parallel num_threads(options_.threads)
    {
      std::vector<std::uint64_t> bitmap;
#pragma omp for schedule(dynamic, 256)
      for (std::size_t i = 0; i < frontier_.size(); ++i) {
        draw_positions(frontier_[i], fanout, key, bitmap, drawn_[i]);
      }
    }
    for (const std::vector<std::uint32_t>& positions : drawn_) {
      offsets_.push_back(offsets_.back() + positions.size());
    }
    edges_.resize(offsets_.back());
#pragma omp parallel for num_threads(options_.threads) schedule(static)
    for (std::size_t i = 0; i < frontier_.size(); ++i) {
      const std::int64_t row = graph_.indptr[frontier_[i]];
      std::transform(drawn_[i].begin(), drawn_[i].end(),
                     edges_.begin() + static_cast<std::ptrdiff_t>(offsets_[i]),
                     [row](std::uint32_t position) { return row + position; });
    }
  }

  /// Which positions of the node's neighbour list are drawn.
  void draw_positions(std::uint64_t node, std::int32_t fanout, const DrawKey& key,
                      std::vector<std::uint64_t>& bitmap,
                      std::vector<std::uint32_t>& positions) const {
    if (options_.sampler == Sampler::kLabor && fanout != kFullFanout) {
      positions.clear();
      for (std::uint32_t i = 0; i < degree(node); ++i) {
        const OriginalId source{graph_.neighbor(graph_.indptr[node] + i)};
        if (labor_keeps(labor_variate(key, source), fanout, degree(node))) positions.push_back(i);
      }
    } else if (options_.sampler == Sampler::kWeighted) {
      const auto begin = static_cast<std::size_t>(graph_.indptr[node]);
      positions.resize(sample_size(positive_edges_[node], fanout));
      weighted_positions(std::span(weight_sums_).subspan(begin, degree(node)),
                         positive_edges_[node], static_cast<std::uint32_t>(positions.size()), key,
                         OriginalId{node}, positions.data());
    } else {
      positions.resize(sample_size(degree(node), fanout));
      sample_positions(degree(node), static_cast<std::uint32_t>(positions.size()), key,
                       OriginalId{node}, bitmap, positions.data());
    }
  }

  void expand_frontier() {
#pragma omp parallel for num_threads(options_.threads) schedule(static)
    for (std::size_t e = 0; e < edges_.size(); ++e) reached_.insert(graph_.neighbor(edges_[e]));
    for (const std::uint64_t node : frontier_) reached_.insert(node);
    frontier_.clear();
    reached_.drain(frontier_);
  }

  CscView graph_;
  const PresampleOptions& options_;
  NodeBitmap reached_;
  std::vector<std::uint32_t> weight_sums_;     // kWeighted: (edges), within each row
  std::vector<std::uint32_t> positive_edges_;  // kWeighted: (nodes)
  std::vector<std::uint64_t> frontier_;
  std::vector<std::vector<std::uint32_t>> drawn_;  // (frontier) positions
  std::vector<std::uint64_t> offsets_;
  std::vector<std::int64_t> edges_;
};

/// The first `count` nodes of `train` in a random order that depends on the seed and the set only.
std::vector<std::uint64_t> shuffled_prefix(std::span<const std::uint64_t> train, std::size_t count,
                                           std::uint64_t seed) {
  // Sampling draws with layers from 1, so layer 0 is free for the order.
  const DrawKey key{.seed = seed, .purpose = Purpose::kPresampling, .layer = 0};
  std::vector<std::pair<std::uint64_t, std::uint64_t>> order;
  order.reserve(train.size());
  for (const std::uint64_t node : train) {
    const PhiloxBlock random = draw(key, node, 0);
    order.emplace_back((std::uint64_t{random.word[0]} << 32) | random.word[1], node);
  }
  std::sort(order.begin(), order.end());
  std::vector<std::uint64_t> prefix(count);
  for (std::size_t i = 0; i < count; ++i) prefix[i] = order[i].second;
  return prefix;
}

}  // namespace

void check_fanout(std::span<const std::int32_t> fanout) {
  if (fanout.empty() || fanout.size() > 255) {
    throw UsageError(fmt::format("--fanout has {} layers", fanout.size()), "give 1 to 255");
  }
  for (const std::int32_t k : fanout) {
    if (k > 0 || k == kFullFanout) continue;
    throw UsageError(fmt::format("--fanout has the value {}", k),
                     "give positive numbers, or -1 for all neighbours");
  }
}

PresampledBatches::PresampledBatches(const CscView& graph, std::span<const std::uint64_t> train,
                                     const PresampleOptions& options)
    : graph_(graph), options_(options) {
  GSPLIT_CHECK(options.batch_size > 0);
  GSPLIT_CHECK(options.sampler != Sampler::kWeighted || graph.weights.size() == graph.num_edges());
  GSPLIT_CHECK(options.max_batches * options.fanout.size() <=
               std::numeric_limits<std::uint16_t>::max());  // edge_samples cannot overflow
  const std::uint64_t epoch = (train.size() + options.batch_size - 1) / options.batch_size;
  num_batches_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(epoch, options.max_batches));
  const std::uint64_t used =
      std::min<std::uint64_t>(train.size(), std::uint64_t{num_batches_} * options.batch_size);
  seeds_ = shuffled_prefix(train, used, options.seed);
}

std::span<const std::uint64_t> PresampledBatches::seeds(std::uint32_t batch) const {
  const std::size_t begin = std::size_t{batch} * options_.batch_size;
  return std::span(seeds_).subspan(
      begin, std::min<std::size_t>(options_.batch_size, seeds_.size() - begin));
}

void PresampledBatches::replay(const BatchVisitor& visitor) const {
  BatchSampler sampler(graph_, options_);
  for (std::uint32_t batch = 0; batch < num_batches_; ++batch) {
    sampler.run(batch, seeds(batch), visitor);
  }
}

PresampleCounts no_samples(const CscView& graph) {
  return {.edge_samples = std::vector<std::uint16_t>(graph.num_edges(), 0),
          .compute = std::vector<std::uint64_t>(graph.num_nodes(), 0),
          .input_rows = std::vector<std::uint32_t>(graph.num_nodes(), 0),
          .is_seed = std::vector<std::uint8_t>(graph.num_nodes(), 0)};
}

PresampleCounts in_degrees(const CscView& graph) {
  PresampleCounts counts = no_samples(graph);
  for (std::uint64_t v = 0; v < graph.num_nodes(); ++v) {
    counts.compute[v] = static_cast<std::uint64_t>(graph.indptr[v + 1] - graph.indptr[v]);
  }
  return counts;
}

PresampleCounts count_samples(const CscView& graph, std::span<const std::uint64_t> train,
                              const PresampledBatches& batches, int threads) {
  PresampleCounts counts = no_samples(graph);
  for (const std::uint64_t node : train) counts.is_seed[node] = 1;
  batches.replay({
      .layer =
          [&](const PresampledLayer& sample) {
  // Within a layer an edge is sampled once and a destination stands once: no two threads meet.
#pragma omp parallel for num_threads(threads) schedule(static)
            for (std::size_t e = 0; e < sample.edges.size(); ++e) {
              ++counts.edge_samples[static_cast<std::size_t>(sample.edges[e])];
            }
            for (std::size_t i = 0; i < sample.destinations.size(); ++i) {
              counts.compute[sample.destinations[i]] += sample.offsets[i + 1] - sample.offsets[i];
            }
          },
      .inputs =
          [&](std::span<const std::uint64_t> inputs) {
            for (const std::uint64_t node : inputs) ++counts.input_rows[node];
          },
  });
  return counts;
}

}  // namespace gsplit
