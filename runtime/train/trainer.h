// One worker's training step. Reads as the flow of docs/architecture.md: sample and load
// (step_preparer.h), then forward, loss, backward, all-reduce, update. Every public function is
// collective.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "graph/shard.h"
#include "partition/read_counts.h"
#include "runtime/control/planner.h"
#include "runtime/nn/model.h"
#include "runtime/train/config.h"
#include "runtime/train/input_rows.h"
#include "runtime/train/optimizer.h"
#include "runtime/train/step_preparer.h"
#include "runtime/train/step_queue.h"
#include "runtime/train/step_report.h"
#include "runtime/train/task_loss.h"

namespace gsplit {

struct TrainerOptions {
  /// Read by the constructor alone.
  Hotness hotness = {};
  /// For a thread of its own that prepares steps: communicators, backends and a stream that nobody
  /// else uses. Null: steps are prepared by who computes them. Must outlive the trainer.
  Context* ahead = nullptr;
};

class Trainer {
 public:
  /// `bounds`: (workers + 1). The references must outlive the trainer.
  Trainer(const TrainConfig& config, const Shard& shard, const std::vector<std::uint64_t>& bounds,
          std::int64_t num_classes, Context& context, const TrainerOptions& options = {});

  /// Begins to sample and load the step `plan` beside what follows. The steps that are computed
  /// next are those prepared, in the order of the calls. Needs TrainerOptions::ahead.
  void prepare_ahead(const StepPlan& plan) { steps_.ask(plan); }
  /// Waits for what is being prepared and drops it.
  void drop_prepared() { steps_.drop(); }

  /// One optimizer step on the global mini-batch of which `plan` is this worker's share. Returns
  /// this worker's report.
  StepReport step(const StepPlan& plan, double learning_rate);

  /// The first part of step() alone: this worker's sample; where samples are drawn on a GPU its
  /// arrays are there.
  MiniBatch sample(const StepPlan& plan);
  /// The same sample, in host memory, with a row for each source, whatever travels in a step.
  MiniBatch sample_drawn_edges(const StepPlan& plan);

  Model& model() { return model_; }
  /// Where steps are drawn, of the context that computes.
  SplitSampler& sampler() { return sampler_ ? *sampler_ : preparer_.sampler(); }
  const SamplerData& sampler_data() const { return preparer_.sampler_data(); }
  const DeviceData& device_data() const { return preparer_.device_data(); }
  /// Of the context that computes.
  InputRows& input_rows() { return input_rows_; }
  OptimizerState& optimizer_state() { return optimizer_.state(); }
  /// Of feature rows that --cache keeps in memory.
  std::uint64_t cache_bytes() const { return preparer_.cache_bytes(); }

 private:
  /// The step that was asked for first. Overwrites `report` with what preparing counted.
  /// Of a GPU, held by both threads.
  std::uint64_t device_bytes();
  PreparedStep& take(const StepPlan& plan, StepReport& report);
  /// What its GPU's cache served of a step that has been computed.
  void count_hits(const PreparedStep& prepared, StepReport& report);
  void compute(PreparedStep& prepared, double learning_rate, StepReport& report);
  /// Notes loss, weight and predictions of own seeds; writes the gradient of their share of the
  /// mean loss.
  void loss(const StepPlan& plan, ConstMatrixView logits, MatrixView gradient, StepReport& report);
  /// Denominator of the mean loss over the global batch.
  double global_loss_weight(const StepPlan& plan, StepReport& report);
  void reduce_gradients(StepReport& report);

  const TrainConfig& config_;
  Context& context_;
  StepPreparer preparer_;
  std::optional<SplitSampler> sampler_;  // where the preparer has another context
  InputRows input_rows_;
  GcnScales scales_;
  Model model_;
  ModelNeeds needs_;
  Optimizer optimizer_;
  TaskLoss loss_;
  StepQueue steps_;  // last: its thread uses the others
};

}  // namespace gsplit
