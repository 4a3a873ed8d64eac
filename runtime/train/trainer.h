// One worker's half of a training step. Reads as the flow of docs/architecture.md: sample, load,
// forward, loss, backward, all-reduce, update. Every public function is collective.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/shard.h"
#include "runtime/control/planner.h"
#include "runtime/nn/model.h"
#include "runtime/train/config.h"
#include "runtime/train/step_report.h"
#include "sampler/split_sampler.h"

namespace gsplit {

/// Adam's state beside the parameters; equal on every worker.
struct AdamState {
  Matrix first_moment;   ///< (1, n)
  Matrix second_moment;  ///< (1, n)
  std::int64_t steps = 0;
};

class Trainer {
 public:
  /// `bounds`: (workers + 1). All references must outlive the trainer.
  Trainer(const TrainConfig& config, const Shard& shard, std::vector<std::uint64_t> bounds,
          std::int64_t num_classes, Context& context);

  /// One optimizer step on the global mini-batch of which `plan` is this worker's share. Returns
  /// this worker's report.
  StepReport step(const StepPlan& plan);

  Model& model() { return model_; }
  SplitSampler& sampler() { return sampler_; }
  /// The sample of the last step(), until the next one.
  const MiniBatch& last_batch() const { return batch_; }

 private:
  Matrix load_input(StepReport& report);
  LossSums loss(const StepPlan& plan, ConstMatrixView logits, MatrixView gradient);
  void reduce_gradients(StepReport& report);
  void update();

  const TrainConfig& config_;
  const Shard& shard_;
  Context& context_;
  SplitSampler sampler_;
  NodeDegrees degrees_;
  Model model_;
  AdamState adam_;
  MiniBatch batch_;
};

}  // namespace gsplit
