// What one step counted and timed, per worker and over all of them. docs/performance.md gives the
// formulas.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/base/prediction_counts.h"
#include "runtime/nn/shuffle_counters.h"

namespace gsplit {

inline constexpr std::uint32_t kNoLayer = 0xFFFFFFFF;

/// One worker's share; travels between workers as bytes.
struct StepReport {
  double loss_sum = 0;     ///< over own seeds
  double loss_weight = 0;  ///< their share of the mean's denominator: TaskLoss::weight()
  PredictionCounts predictions;
  std::uint64_t seeds = 0;
  std::uint64_t edges = 0;       ///< sampled, all layers
  std::uint64_t input_rows = 0;  ///< rows that the input layer needs, before any cache
  std::uint64_t rows_cache = 0;
  std::uint64_t rows_remote = 0;
  std::uint64_t rows_disk = 0;
  std::uint64_t rows_copied =
      0;                        ///< rows of other workers read from copies: each is a row not sent
  std::uint64_t bus_bytes = 0;  ///< of input rows, from host memory to GPUs
  TrafficByLayer traffic = {};
  std::uint64_t plan_bytes = 0;
  std::uint64_t allreduce_bytes = 0;
  std::uint64_t peak_rss_bytes = 0;    ///< of the worker's process; the largest one
  std::uint64_t device_bytes = 0;      ///< of a GPU that the worker holds; the largest one
  double learning_rate = 0;            ///< the same on all workers
  std::uint32_t bad_layer = kNoLayer;  ///< where the loss is not finite: first_bad_layer()
  double sample_s = 0;                 ///< wall time inside the sampler
  double load_s = 0;                   ///< gathering input rows
  double compute_s = 0;       ///< forward, loss, backward, optimizer, without the exchanges inside
  double comm_s = 0;          ///< shuffles and gradient all-reduce
  double plan_wait_s = 0;     ///< waiting for the coordinator's plan
  double prepare_wait_s = 0;  ///< of who computes, for a step that is prepared ahead
  bool checkpoint_due = false;  ///< by the clock of rank 0
  bool stop = false;            ///< the worker knows that the job is to stop

  /// Of reports over all workers: the loss of the global batch. 0 where nothing has a weight.
  double mean_loss() const { return loss_weight > 0 ? loss_sum / loss_weight : 0; }
  /// Of all layers.
  LayerTraffic shuffle() const;
};

/// Sums of the counts, maxima of the times; due and to stop where any worker says so.
StepReport combine(std::span<const StepReport> workers);

}  // namespace gsplit
