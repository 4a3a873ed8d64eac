// What --mode p3 adds to a step before its first layer: every worker gets the first layer's block
// of all workers, of which it computes what its own columns of the features make.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/nn/push_pull.h"
#include "sampler/block.h"

namespace gsplit {

/// Columns [begin, end) of the features.
struct ColumnRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
};

/// Of worker `rank` of `workers`; sizes differ by one at most.
ColumnRange own_columns(std::int64_t width, int rank, int workers);

/// The first layers of all workers, by rank, in device memory, still without their columns. `own`
/// may be there or in host memory: it travels by way of the host, as ids do. Adds the bytes that
/// were sent to `plan_bytes`. REQUIRES: each worker samples alone. Collective over all workers.
std::vector<PushPullPart> share_first_layers(const MiniBatch& own, std::uint64_t& plan_bytes,
                                             Context& context);

}  // namespace gsplit
