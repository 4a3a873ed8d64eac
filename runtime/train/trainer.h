// One worker's half of a training step. Reads as the flow of docs/architecture.md: sample, load,
// forward, loss, backward, all-reduce, update. Every public function is collective.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "graph/shard.h"
#include "partition/read_counts.h"
#include "runtime/control/planner.h"
#include "runtime/nn/model.h"
#include "runtime/train/column_parts.h"
#include "runtime/train/config.h"
#include "runtime/train/device_data.h"
#include "runtime/train/feature_cache.h"
#include "runtime/train/input_rows.h"
#include "runtime/train/optimizer.h"
#include "runtime/train/remote_copies.h"
#include "runtime/train/step_report.h"
#include "runtime/train/task_loss.h"
#include "sampler/device_batch.h"
#include "sampler/sampler_data.h"
#include "sampler/split_sampler.h"

namespace gsplit {

class Trainer {
 public:
  /// `bounds`: (workers + 1). `reads`: what --cache chooses rows by; without them nothing is kept.
  /// All references but `reads` must outlive the trainer.
  Trainer(const TrainConfig& config, const Shard& shard, const std::vector<std::uint64_t>& bounds,
          std::int64_t num_classes, Context& context, const ReadCounts* reads = nullptr);

  /// One optimizer step on the global mini-batch of which `plan` is this worker's share. Returns
  /// this worker's report.
  StepReport step(const StepPlan& plan, double learning_rate);

  /// The first part of step() alone: this worker's sample, valid until the next one; where samples
  /// are drawn on a GPU its arrays are there.
  const MiniBatch& sample(const StepPlan& plan);
  /// The same sample, in host memory, with a row for each source, whatever travels in a step.
  const MiniBatch& sample_drawn_edges(const StepPlan& plan);

  Model& model() { return model_; }
  /// The host's.
  SplitSampler& sampler() { return sampler_; }
  const SamplerData& sampler_data() const { return sampler_data_; }
  const DeviceData& device_data() const { return device_data_; }
  InputRows& input_rows() { return input_rows_; }
  OptimizerState& optimizer_state() { return optimizer_.state(); }
  /// Of feature rows that --cache keeps in memory.
  std::uint64_t cache_bytes() const;

 private:
  /// What a step's sample is for.
  enum class Use { kTraining, kDrawnEdges };

  bool samples_on_device() const { return device_sampler_.has_value(); }
  const MiniBatch& sample(const StepPlan& plan, Use use);
  /// Where the model computes, as `batch_` gives it or copied there.
  const MiniBatch& batch_on_device();
  /// Whose row is row i of the batch, on the device.
  Buffer<OriginalId> original_ids();
  DrawKey draw_key(const StepPlan& plan) const;
  /// `ids`: in device memory.
  Matrix load_input(std::span<const OriginalId> ids, DrawKey key, StepReport& report);
  /// All own source rows of the batch's first layer, from wherever they are kept.
  void load_batch_rows(MatrixView rows, StepReport& report);
  void load_from_cache(MatrixView rows);
  /// Input dropout. `ids`: of the rows' nodes, in device memory.
  void mask(std::span<const OriginalId> ids, DrawKey key, MatrixView rows);
  /// Mode p3: the first layers of all workers with this one's columns of their input. Collective.
  std::optional<PushPull> push_pull(DrawKey key, StepReport& report);
  Matrix load_columns(std::span<const LocalId> nodes, DrawKey key);
  /// Notes loss, weight and predictions of own seeds; writes the gradient of their share of the
  /// mean loss.
  void loss(const StepPlan& plan, ConstMatrixView logits, MatrixView gradient, StepReport& report);
  /// Denominator of the mean loss over the global batch.
  double global_loss_weight(const StepPlan& plan, StepReport& report);
  void reduce_gradients(StepReport& report);

  const TrainConfig& config_;
  const Shard& shard_;
  Context& context_;
  SamplerData sampler_data_;
  SplitSampler sampler_;
  DeviceData device_data_;
  std::optional<SplitSampler> device_sampler_;
  InputRows input_rows_;
  std::unique_ptr<RemoteCopies> copies_;  // --mode split
  std::unique_ptr<FeatureCache> cache_;   // --mode data
  GcnScales scales_;
  Model model_;
  Optimizer optimizer_;
  TaskLoss loss_;
  ColumnRange columns_;  // of the features: all, or with p3 this worker's
  MiniBatch batch_;
  std::optional<DeviceBatch> copied_batch_;  // of what the host has drawn
};

}  // namespace gsplit
