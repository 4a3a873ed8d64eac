// `gsplit bench DATASET --volumes`: what a step computes, loads and shuffles in each mode, counted
// and not timed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graph/dataset.h"
#include "kernels/base/log.h"
#include "partition/prepare.h"
#include "partition/volumes.h"

namespace gsplit {

/// What weighs edges and nodes for the partitioner.
struct PartitionWeights {
  enum class From : std::uint8_t {
    kSamples,    ///< a presample by the sampler that is counted
    kPresample,  ///< one by `sampler`
    kGraph,      ///< the graph alone: every edge and every node weighs 1
    kEdges,      ///< every edge weighs 1, a node as many as it has in-edges
  };
  From from = From::kSamples;
  Sampler sampler = Sampler::kUniform;
};

/// "samples", "plain", "edges", or the name of a sampler; UsageError for anything else.
PartitionWeights partition_weights_from_name(const std::string& name);

struct VolumeReportOptions {
  std::vector<int> workers{1, 2, 4, 8};
  std::vector<int> batch_sizes{1024};
  std::vector<PartitionMethod> methods{PartitionMethod::kAuto};  ///< of mode split and hybrid
  std::vector<PartitionWeights> weights{PartitionWeights{}};     ///< of metis, stream and auto
  std::vector<std::int32_t> fanout{15, 10, 5};                   ///< nearest the seeds first
  Sampler sampler = Sampler::kUniform;
  std::int64_t hidden = 256;
  int group_size = 0;         ///< of mode hybrid; 0: without it
  double cache_budget = 0.2;  ///< share of all nodes that a worker of mode data caches
  std::uint64_t seed = 0;
  int threads = 1;
};

/// One line of the report; means over presampled steps, summed over workers. GraphSAGE, fp32.
struct VolumeLine {
  std::string mode;       ///< split, data, p3 or hybrid
  std::string partition;  ///< method and what weighs, as "metis" or "metis plain"; or "-"
  int workers = 1;
  int batch_size = 0;
  double edges = 0;
  double input_rows = 0;   ///< loaded from host memory or peers, without a cache
  double cached_rows = 0;  ///< of these, the hottest nodes: what `--cache replicate` saves
  double gflop = 0;        ///< dense products, forward and backward
  double moved_bytes = 0;  ///< by sums over neighbours: a row an edge, forward and backward
  double pull_bytes =
      0;  ///< shuffled if rows are pulled, forward and backward; p3: its partial sums
  double push_bytes = 0;   ///< shuffled if partial sums are pushed
  double pull_rows = 0;    ///< one way, all layers
  double load_edges = 1;   ///< max / average over workers
  double load_inputs = 1;  ///< the same of input rows
};

/// Partitions, presamples and counts, line by line; each is given to `emit` as soon as it is known.
void report_volumes(const Dataset& dataset, const VolumeReportOptions& options, const Log& log,
                    const std::function<void(const VolumeLine&)>& emit);

std::string volume_header();
std::string as_text(const VolumeLine& line);
std::string as_json(const VolumeLine& line);

}  // namespace gsplit
