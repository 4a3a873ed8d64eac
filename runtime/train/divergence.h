// A loss that is NaN or infinite: found in the sums that all workers share, so that all end alike.
#pragma once

#include "runtime/control/planner.h"
#include "runtime/nn/model.h"
#include "runtime/train/step_report.h"

namespace gsplit {

/// The first layer, from 1 at the input, whose outputs on this worker are not all finite, or
/// kNoLayer. `logits`: the last layer's. Looks at every output: for the case that the loss is bad.
std::uint32_t first_bad_layer(const ForwardState& state, const MiniBatch& batch,
                              ConstMatrixView logits, Context& context);

/// Throws SystemError naming step, layer and remedy unless the loss of the step is finite. `total`:
/// of all workers.
void require_finite_loss(const StepPlan& plan, const StepReport& total);

}  // namespace gsplit
