// Prefix sums and sorting, which CUB has (part of the CUDA Core Compute Libraries). All arrays are
// in device memory; results do not depend on the schedule.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/ops.h"

namespace gsplit::cuda {

/// output[i] = input[0] + ... + input[i - 1]. They may be the same array.
void exclusive_sum(const std::uint32_t* input, std::uint32_t* output, std::size_t count,
                   const Queue& queue);
void exclusive_sum(const std::uint64_t* input, std::uint64_t* output, std::size_t count,
                   const Queue& queue);

/// (count) keys and what goes with them, ordered by key; equal keys stay in their order.
struct SortedPairs {
  Buffer<std::uint32_t> keys;
  Buffer<std::uint32_t> values;
};

/// REQUIRES: keys are below `bound`.
SortedPairs sort_pairs(const std::uint32_t* keys, const std::uint32_t* values, std::size_t count,
                       std::uint32_t bound, const Queue& queue);

}  // namespace gsplit::cuda
