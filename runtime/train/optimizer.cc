#include "runtime/train/optimizer.h"

#include <cmath>

namespace gsplit {
namespace {

/// Added to the norm, as torch.nn.utils.clip_grad_norm_ does.
constexpr double kNormEpsilon = 1e-6;

Matrix zeros_like(MatrixView values, Context& context) {
  Matrix zeros(context.memory(), values.dtype, values.rows, values.cols);
  context.memory().fill_zero(zeros.data(), zeros.bytes(), context.stream);
  return zeros;
}

}  // namespace

Optimizer::Optimizer(const TrainConfig& config, ParameterSet& parameters, Context& context)
    : config_(config), parameters_(parameters), context_(context) {
  const bool sgd = config.optimizer == "sgd";
  if (!sgd || config.momentum > 0) {
    state_.first_moment = zeros_like(parameters.values(), context);
  }
  if (!sgd) state_.second_moment = zeros_like(parameters.values(), context);
}

void Optimizer::clip() {
  OptimizerOps& ops = context_.backend.optimizer();
  const MatrixView gradients = parameters_.gradients();
  const double norm = std::sqrt(ops.squared_norm(gradients, context_.stream));
  const double factor = config_.clip_norm / (norm + kNormEpsilon);
  if (factor < 1) ops.scale(gradients, factor, context_.stream);
}

void Optimizer::step(double learning_rate) {
  if (config_.clip_norm > 0) clip();
  state_.steps += 1;
  OptimizerOps& ops = context_.backend.optimizer();
  if (config_.optimizer == "sgd") {
    return ops.sgd({.parameters = parameters_.values(),
                    .gradients = parameters_.gradients(),
                    .velocity = state_.first_moment.view(),
                    .learning_rate = learning_rate,
                    .momentum = config_.momentum,
                    .weight_decay = config_.weight_decay},
                   context_.stream);
  }
  ops.adam({.parameters = parameters_.values(),
            .gradients = parameters_.gradients(),
            .first_moment = state_.first_moment.view(),
            .second_moment = state_.second_moment.view(),
            .step = state_.steps,
            .learning_rate = learning_rate,
            .weight_decay = config_.weight_decay,
            .decoupled = config_.optimizer == "adamw"},
           context_.stream);
}

}  // namespace gsplit
