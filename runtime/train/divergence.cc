#include "runtime/train/divergence.h"

#include <cmath>
#include <string>

#include "kernels/base/error.h"

namespace gsplit {

std::uint32_t first_bad_layer(const ForwardState& state, const MiniBatch& batch,
                              ConstMatrixView logits, Context& context) {
  const auto is_bad = [&](ConstMatrixView rows) {
    const Operand computed(rows, logits.dtype, context);
    return !std::isfinite(
        context.backend.optimizer().squared_norm(computed.view(), context.stream));
  };
  // A layer writes its outputs where the next one reads its own rows.
  for (std::size_t l = 1; l < batch.layers.size(); ++l) {
    const ConstMatrixView rows = state.convs[l].sources.view();
    if (is_bad(rows.slice(0, batch.layers[l].block.num_own))) return static_cast<std::uint32_t>(l);
  }
  return is_bad(logits) ? static_cast<std::uint32_t>(batch.layers.size()) : kNoLayer;
}

void require_finite_loss(const StepPlan& plan, const StepReport& total) {
  if (std::isfinite(total.loss_sum)) return;
  const std::string where =
      total.bad_layer == kNoLayer
          ? "all layer outputs are finite"
          : "layer " + std::to_string(total.bad_layer) + " is the first with such outputs";
  throw SystemError(
      "the loss of step " + std::to_string(plan.step) + " is NaN or infinite, " + where,
      "lower --lr, or give --clip-norm or --warmup-steps");
}

}  // namespace gsplit
