// The update of one step: clipping by the global norm, then Adam, AdamW or SGD. Takes part in no
// collective: gradients come in reduced, so every worker computes the same.
#pragma once

#include <cstdint>

#include "runtime/nn/context.h"
#include "runtime/nn/parameters.h"
#include "runtime/train/config.h"

namespace gsplit {

/// What an optimizer keeps beside the parameters; equal on every worker.
struct OptimizerState {
  Matrix first_moment;   ///< (1, n); of sgd: the velocity; empty where its momentum is 0
  Matrix second_moment;  ///< (1, n); empty for sgd
  std::int64_t steps = 0;
};

class Optimizer {
 public:
  /// References must outlive it. The state starts as zeros.
  Optimizer(const TrainConfig& config, ParameterSet& parameters, Context& context);

  /// Updates the parameters by their gradients, which clipping scales in place.
  void step(double learning_rate);
  OptimizerState& state() { return state_; }

 private:
  void clip();

  const TrainConfig& config_;
  ParameterSet& parameters_;
  Context& context_;
  OptimizerState state_;
};

}  // namespace gsplit
