// The pull shuffle: rows of owners to the workers that aggregate them, and their gradients back,
// both from one ShufflePlan. The self segment never travels. Collective: all workers call it for
// the same layer at the same time.
#pragma once

#include "runtime/nn/context.h"
#include "sampler/block.h"

namespace gsplit {

/// Fills rows [num_own, num_sources) of `sources` (num_sources, cols) with the peers' rows; the own
/// rows are there.
void pull_rows(const SampledLayer& layer, MatrixView sources, Context& context);

/// Sends the gradients of received rows to their owners and adds what peers send to the own rows,
/// peer by peer in rank order. `gradients`: (num_sources, cols).
void return_gradients(const SampledLayer& layer, MatrixView gradients, Context& context);

}  // namespace gsplit
