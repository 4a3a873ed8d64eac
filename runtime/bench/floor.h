// `gsplit bench DATASET --floor`: the least that a step can take on this machine, from its counts
// and the machine's rates.
//
// What must happen, each at the best rate, one after the other:
//
//   sample   a random read for each node's place in the neighbour lists and one for each edge drawn
//   load     the distinct input rows are gathered
//   dense    products with the weights, forward and backward, in the cheaper order of sum and
//   product rows     each layer's distinct source rows are read once, its output and its gradient
//   are written and read once; likewise what
//            lies between sum and product, and the gradients of the sources, but at the input layer
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/dataset.h"
#include "kernels/base/log.h"
#include "partition/volumes.h"
#include "runtime/bench/machine_rates.h"

namespace gsplit {

struct FloorOptions {
  std::string model = "sage";                   ///< sage, gcn, gat or gin
  std::vector<std::int32_t> fanout{15, 10, 5};  ///< nearest the seeds first
  int batch_size = 1024;
  std::int64_t hidden = 256;
  int heads = 4;
  std::uint64_t seed = 0;
  int threads = 1;
};

/// Of one step; means over presampled ones.
struct StepCounts {
  double random_reads = 0;
  double input_rows = 0;
  double gathered_bytes = 0;
  double dense_flops = 0;
  double streamed_bytes = 0;
};

/// Input and output width of each layer, the input's first; of GAT's last one, of all heads.
struct LayerWidths {
  double in = 0;
  double out = 0;
};
std::vector<LayerWidths> layer_widths(const Dataset& dataset, const FloorOptions& options);

/// Of a step whose volumes are known, over all workers.
StepCounts counts_of(const Volumes& volumes, const std::vector<LayerWidths>& widths,
                     const FloorOptions& options);

StepCounts count_step(const Dataset& dataset, const FloorOptions& options, const Log& log);

/// Seconds of each part.
struct StepFloor {
  double sample = 0;
  double load = 0;
  double dense = 0;
  double rows = 0;
  double total() const { return sample + load + dense + rows; }
};

StepFloor floor_of(const StepCounts& counts, const MachineRates& rates);

std::string as_text(const StepCounts& counts, const MachineRates& rates);
std::string as_json(const StepCounts& counts, const MachineRates& rates);

}  // namespace gsplit
