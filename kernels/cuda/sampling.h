#pragma once

#include "kernels/cuda/ops.h"

namespace gsplit::cuda {

/// Draws whose number the host may not know yet.
struct CountedDraws {
  SampledNeighbors drawn;  ///< with room for all that there may be, where `known` is false
  Buffer<std::uint64_t> offsets;
  bool known = true;

  /// The number of edges, on the device.
  const std::uint64_t* count() const { return offsets.data() + offsets.size() - 1; }
};

/// Where a bound on the edges is known, and not too large, nobody waits for their number.
CountedDraws draw_neighbors(const SampleNeighborsArgs& args, const Queue& queue);
/// Throws UsageError for more edges than a block may have.
void check_edges(std::uint64_t edges);
SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, const Queue& queue);
Growth grow(const GrowArgs& args, const Queue& queue);
InverseCsr invert(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                  std::size_t num_columns, const Queue& queue);
CoveredNodes cover(const CoverArgs& args, const Queue& queue);

}  // namespace gsplit::cuda
