#pragma once

#include "kernels/cuda/ops.h"

namespace gsplit::cuda {

SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, const Queue& queue);
InverseCsr invert(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                  std::size_t num_columns, const Queue& queue);

}  // namespace gsplit::cuda
