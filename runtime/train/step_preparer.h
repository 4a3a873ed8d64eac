// The first half of a step: one worker's sample and its input rows, where the model computes. It
// depends on the plan alone and not on the weights, so it may run in a thread of its own while the
// step before is computed (step_queue.h): then with a Context of its own, whose communicators,
// streams and memory no other thread uses.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "graph/shard.h"
#include "partition/read_counts.h"
#include "runtime/control/planner.h"
#include "runtime/nn/context.h"
#include "runtime/nn/push_pull.h"
#include "runtime/train/column_parts.h"
#include "runtime/train/config.h"
#include "runtime/train/device_data.h"
#include "runtime/train/feature_cache.h"
#include "runtime/train/input_rows.h"
#include "runtime/train/remote_copies.h"
#include "runtime/train/step_report.h"
#include "sampler/device_batch.h"
#include "sampler/sampler_data.h"
#include "sampler/split_sampler.h"

namespace gsplit {

/// What the model asks of a sample.
struct ModelNeeds {
  bool invert_input = false;  ///< the inverse of the input layer's block
  bool adds_input = false;    ///< whole rows of the input layer's destinations, also with p3
  MatrixRows matrix_rows = MatrixRows::kAll;  ///< of the input layer
  /// Bytes that a row of each layer's shuffle takes on its way, forward and backward, at least.
  std::vector<std::uint64_t> row_bytes;
};

/// What caches choose rows by; without it they keep nothing.
struct Hotness {
  const ReadCounts* reads = nullptr;  ///< of the partition, for --cache
  const ReadCounts* loads = nullptr;  ///< of the whole graph, for a GPU's cache
};

/// Made and destroyed by the thread that prepares.
struct PreparedStep {
  StepPlan plan;
  DrawKey key;
  MiniBatch sample;                   ///< as drawn: in host memory, or where a GPU draws in its own
  std::optional<DeviceBatch> copied;  ///< where the model computes; empty: the sample is there
  Buffer<OriginalId> original_ids;    ///< whose row is row i, on the device
  std::optional<PushPull> first_layer;  ///< --mode p3
  Matrix input;                         ///< (sources of the first layer, features)
  Buffer<const void*> places;           ///< as ModelBatch::places
  StepReport report;                    ///< what sampling and loading counted
  ShuffleCounters shuffle;              ///< likewise
  std::unique_ptr<Event> ready;         ///< on the stream that made it
  std::unique_ptr<Event> done;          ///< on the stream that has read it
  /// (1) input rows that the GPU's cache had, page-locked: there once `ready` has passed. Empty: no
  /// cache.
  Buffer<std::uint64_t> hits;

  const MiniBatch& batch() const { return copied ? copied->get() : sample; }
};

class StepPreparer {
 public:
  /// `bounds`: (workers + 1). All references but `hotness` must outlive it. Collective.
  StepPreparer(const TrainConfig& config, const Shard& shard,
               const std::vector<std::uint64_t>& bounds, Context& context, const Hotness& hotness);

  /// Collective, as are the following.
  std::unique_ptr<PreparedStep> prepare(const StepPlan& plan, const ModelNeeds& needs);
  /// Takes back what has been read: once its memory is used again it has passed `done`.
  void retire(std::unique_ptr<PreparedStep> step);

  /// A sample as a step draws it.
  MiniBatch sample(const StepPlan& plan, const ModelNeeds& needs);
  /// The same sample, in host memory, with a row for each source, whatever travels in a step.
  MiniBatch sample_drawn_edges(const StepPlan& plan, const ModelNeeds& needs);

  /// The one that steps are drawn with.
  SplitSampler& sampler() { return samples_on_device() ? *device_sampler_ : sampler_; }
  const SamplerData& sampler_data() const { return sampler_data_; }
  const DeviceData& device_data() const { return device_data_; }
  const InputRows& input_rows() const { return input_rows_; }
  const RemoteCopies* copies() const { return copies_.get(); }
  /// Of feature rows that --cache keeps in memory.
  std::uint64_t cache_bytes() const;
  Context& context() { return context_; }

 private:
  /// What a sample is for.
  enum class Use { kTraining, kDrawnEdges };

  bool samples_on_device() const { return device_sampler_.has_value(); }
  MiniBatch sample(const StepPlan& plan, const ModelNeeds& needs, Use use);
  DrawKey draw_key(const StepPlan& plan) const;
  Buffer<OriginalId> original_ids(const MiniBatch& sample);
  /// On the device, of `nodes` in host memory.
  Buffer<OriginalId> upload_original_ids(std::span<const LocalId> nodes);
  Matrix load_input(PreparedStep& step, const ModelNeeds& needs);
  /// Mode p3: whole rows, of nodes of the sample.
  void load_destinations(std::span<const LocalId> nodes, MatrixView rows);
  /// All own source rows of the batch's first layer, from wherever they are kept.
  void load_batch_rows(PreparedStep& step, const ModelNeeds& needs, MatrixView rows);
  /// Those of own nodes, counting what the device's cache has and, where the model can, leaving it
  /// there.
  void load_own_rows(PreparedStep& step, const ModelNeeds& needs, MatrixView rows);
  bool leaves_rows_in_cache(const ModelNeeds& needs) const;
  void load_from_cache(std::span<const LocalId> nodes, MatrixView rows);
  /// Of rows that the host gathers, on their way to the device.
  DType sent_dtype() const;
  /// Input dropout. `ids`: of the rows' nodes, in device memory.
  void mask(std::span<const OriginalId> ids, DrawKey key, MatrixView rows);
  /// Mode p3: the first layers of all workers with this one's columns of their input.
  std::optional<PushPull> push_pull(PreparedStep& step);
  /// Of `nodes` that the device has.
  Matrix load_columns(std::span<const LocalId> nodes, DrawKey key);
  /// The same columns of rows that are changed as wholes.
  void cut_columns(std::span<const LocalId> nodes, DrawKey key, MatrixView columns);

  const TrainConfig& config_;
  const Shard& shard_;
  Context& context_;
  SamplerData sampler_data_;
  SplitSampler sampler_;
  ColumnRange columns_;  // of the features: all, or with p3 this worker's
  DeviceData device_data_;
  std::optional<SplitSampler> device_sampler_;
  InputRows input_rows_;
  std::unique_ptr<RemoteCopies> copies_;  // --mode split
  std::unique_ptr<FeatureCache> cache_;   // --mode data
};

/// What may travel. Attention weighs each row by all others of its destination, so it has no
/// partial sums. Where a GPU samples rows travel unless sums are asked for, since the host plans
/// these.
Route route_of(const TrainConfig& config);
/// Of kMixed: linear on GPUs unless --cover says otherwise.
Cover cover_of(const TrainConfig& config);

/// Where a GPU keeps graph and features, without their columns.
DeviceDataOptions device_data_options(const TrainConfig& config);

/// The part as the model sees it: without weights where it does not use them.
TopologyView topology_of(const TrainConfig& config, const Shard& shard);

}  // namespace gsplit
