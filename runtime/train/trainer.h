// One worker's half of a training step. Reads as the flow of docs/architecture.md: sample, load,
// forward, loss, backward, all-reduce, update. Every public function is collective.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "graph/shard.h"
#include "runtime/control/planner.h"
#include "runtime/nn/model.h"
#include "runtime/train/column_parts.h"
#include "runtime/train/config.h"
#include "runtime/train/input_rows.h"
#include "runtime/train/optimizer.h"
#include "runtime/train/step_report.h"
#include "runtime/train/task_loss.h"
#include "sampler/device_batch.h"
#include "sampler/split_sampler.h"

namespace gsplit {

class Trainer {
 public:
  /// `bounds`: (workers + 1). All references must outlive the trainer.
  Trainer(const TrainConfig& config, const Shard& shard, const std::vector<std::uint64_t>& bounds,
          std::int64_t num_classes, Context& context);

  /// One optimizer step on the global mini-batch of which `plan` is this worker's share. Returns
  /// this worker's report.
  StepReport step(const StepPlan& plan, double learning_rate);

  /// The first part of step() alone: this worker's sample, valid until the next one.
  const MiniBatch& sample(const StepPlan& plan);
  /// The same sample with a row for each source, whatever travels in a step.
  const MiniBatch& sample_drawn_edges(const StepPlan& plan);

  Model& model() { return model_; }
  SplitSampler& sampler() { return sampler_; }
  InputRows& input_rows() { return input_rows_; }
  OptimizerState& optimizer_state() { return optimizer_.state(); }

 private:
  const MiniBatch& sample(const StepPlan& plan, Route route);
  DrawKey draw_key(const StepPlan& plan) const;
  /// `ids`: in device memory.
  Matrix load_input(std::span<const OriginalId> ids, DrawKey key, StepReport& report);
  /// Whole rows of `nodes` as the first layer reads them. `ids`: of the nodes, in device memory.
  void load_rows(std::span<const LocalId> nodes, std::span<const OriginalId> ids, DrawKey key,
                 MatrixView rows);
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
  SplitSampler sampler_;
  InputRows input_rows_;
  GcnScales scales_;
  Model model_;
  Optimizer optimizer_;
  TaskLoss loss_;
  ColumnRange columns_;  // of the features: all, or with p3 this worker's
  MiniBatch batch_;
};

}  // namespace gsplit
