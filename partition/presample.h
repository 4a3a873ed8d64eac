// Presampling: some mini-batches are drawn before training, to learn which edges and nodes training
// will use how often. These counts are the weights of the partitioner (GSplit, arXiv 2303.13775,
// section 5) and the sample over which the quality of a partition is measured.
//
// Everything is a pure function of (graph, training nodes, options): the same for any number of
// threads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "graph/csc.h"
#include "kernels/base/sampler.h"

namespace gsplit {

struct PresampleOptions {
  std::vector<std::int32_t> fanout{15, 10, 5};  ///< nearest the seeds first; kFullFanout: all
  Sampler sampler = Sampler::kUniform;          ///< kWeighted: of a graph with weights
  std::uint32_t batch_size = 1024;              ///< global
  std::uint32_t max_batches = 64;               ///< one epoch, but not more than this many batches
  std::uint64_t seed = 0;
  int threads = 1;
};

/// Throws UsageError unless there are 1 to 255 fanouts, each positive or kFullFanout.
void check_fanout(std::span<const std::int32_t> fanout);

/// The sampled in-edges of one layer's frontier.
struct PresampledLayer {
  std::span<const std::uint64_t> destinations;  ///< ascending OriginalIds, unique
  std::span<const std::uint64_t> offsets;       ///< (destinations + 1) into edges
  std::span<const std::int64_t> edges;          ///< positions in the CSC's indices, ascending
};

/// What a replay hands out; the spans live until the callback returns. Either may be empty.
struct BatchVisitor {
  std::function<void(const PresampledLayer&)> layer;  ///< L times a batch, seeds' layer first
  /// Once a batch: the frontier of the lowest layer, whose input rows are needed; ascending.
  std::function<void(std::span<const std::uint64_t>)> inputs;
};

/// The first batches of one epoch: a keyed random order of the training nodes, cut into batches,
/// with the neighbours that layer L, ..., 1 sample (the frontier of layer l - 1 is the frontier of
/// layer l and its sampled neighbours). Keeps no batch: each replay draws the same ones again.
class PresampledBatches {
 public:
  /// Keeps the view, copies the rest. REQUIRES: check_fanout passes; train nodes are unique.
  PresampledBatches(const CscView& graph, std::span<const std::uint64_t> train,
                    const PresampleOptions& options);
  std::uint32_t size() const { return num_batches_; }
  std::size_t num_layers() const { return options_.fanout.size(); }
  void replay(const BatchVisitor& visitor) const;

 private:
  std::span<const std::uint64_t> seeds(std::uint32_t batch) const;

  CscView graph_;
  PresampleOptions options_;
  std::uint32_t num_batches_ = 0;
  std::vector<std::uint64_t> seeds_;  // of all batches, in the order of use
};

/// Loads over all presampled batches.
struct PresampleCounts {
  std::vector<std::uint16_t> edge_samples;  ///< (num_edges) times sampled, over all layers
  std::vector<std::uint64_t> compute;  ///< (num_nodes) edges sampled into the node, over all layers
  std::vector<std::uint32_t> input_rows;  ///< (num_nodes) batches that need its input row
  std::vector<std::uint8_t> is_seed;      ///< (num_nodes) 1 for training nodes
};

PresampleCounts count_samples(const CscView& graph, std::span<const std::uint64_t> train,
                              const PresampledBatches& batches, int threads);

/// Counts of a presample of no batch and no training node: with them a partitioner goes by the
/// graph alone, each edge and each node weighing 1.
PresampleCounts no_samples(const CscView& graph);
/// The same, but that a node computes with all its in-edges: parts get equally many edges.
PresampleCounts in_degrees(const CscView& graph);

}  // namespace gsplit
