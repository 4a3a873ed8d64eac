// --dry-run: what a run would take, found by sampling its first mini-batches and training none.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "graph/shard.h"
#include "kernels/base/log.h"
#include "runtime/control/planner.h"
#include "runtime/train/config.h"
#include "runtime/train/trainer.h"

namespace gsplit {

/// Of one worker; travels between workers as bytes. Bytes are estimates of the large arrays.
struct WorkerEstimate {
  std::uint64_t shard_bytes = 0;    ///< files of the part: mapped, so the page cache holds them
  std::uint64_t cache_bytes = 0;    ///< feature rows that --cache keeps
  std::uint64_t sampler_bytes = 0;  ///< what labor and weighted read beside the graph
  std::uint64_t weight_bytes = 0;   ///< weights, gradients, optimizer state
  std::uint64_t batch_bytes = 0;    ///< largest sampled mini-batch: rows, their gradients, edges
  std::uint64_t evaluation_bytes =
      0;  ///< a layer's input and output of all own nodes, and what a piece reads
  std::uint64_t batches = 0;  ///< sampled; the counts below are sums over them
  std::uint64_t edges = 0;
  std::uint64_t input_rows = 0;
  std::uint64_t received_rows = 0;  ///< of other workers, all layers

  /// Resident at the peak, the mapped shard included; of a process with this one worker.
  std::uint64_t peak_bytes() const;
};

class DryRun {
 public:
  /// References must outlive it.
  DryRun(const TrainConfig& config, const Partition& partition, const Shard& shard,
         Trainer& trainer);
  /// Collective: samples one mini-batch.
  void sample(const StepPlan& plan);
  const WorkerEstimate& estimate() const { return estimate_; }

 private:
  std::uint64_t bytes_of(const MiniBatch& batch);

  const TrainConfig& config_;
  Trainer& trainer_;
  WorkerEstimate estimate_;
};

/// The steps of the run that was not made.
struct DryRunFacts {
  std::uint64_t total_steps = 0;
  std::uint64_t steps_per_epoch = 0;
};

/// The lines for the user: steps, plan, memory of each worker, expected shuffle.
void print_dry_run(const TrainConfig& config, const Partition& partition, const DryRunFacts& facts,
                   std::span<const WorkerEstimate> workers, const Log& log);

}  // namespace gsplit
