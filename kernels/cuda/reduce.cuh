// Reductions whose order depends on the sizes alone, so that equal inputs give equal bits: over the
// threads of a block by a tree, over blocks one after another.
#pragma once

#include <limits>

#include "kernels/cuda/launch.cuh"

namespace gsplit::cuda {

inline constexpr int kWarpsPerBlock = kBlock / kWarp;

/// Combines what the kBlock threads have; the result is in thread 0. `combine(a, b)` -> T.
/// REQUIRES: all threads of the block call it, once in a kernel.
template <class T, class Combine>
__device__ T block_reduce(T value, Combine combine) {
  __shared__ T values[kBlock];
  values[threadIdx.x] = value;
  __syncthreads();
  for (int distance = kBlock / 2; distance > 0; distance /= 2) {
    if (threadIdx.x < distance) {
      values[threadIdx.x] = combine(values[threadIdx.x], values[threadIdx.x + distance]);
    }
    __syncthreads();
  }
  return values[0];
}

/// What one block has found, or the whole: sums of losses and counts.
struct DeviceSums {
  double loss = 0;
  unsigned long long true_positives = 0;
  unsigned long long false_positives = 0;
  unsigned long long false_negatives = 0;

  __device__ friend DeviceSums operator+(const DeviceSums& a, const DeviceSums& b) {
    return {a.loss + b.loss, a.true_positives + b.true_positives,
            a.false_positives + b.false_positives, a.false_negatives + b.false_negatives};
  }
};

/// Sums of `matrix`'s columns: with `factor`, of the products of the two's elements.
/// output: (1, cols), computed.
template <class S>
struct ColumnSums {
  Rows<const S> matrix;
  Rows<const S> factor;  ///< data null: 1
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  compute_type<S>* output = nullptr;
};

/// Defined in sum_rows.cu for the types of rows.
template <class S>
void sum_columns(const ColumnSums<S>& sums, const Queue& queue);

}  // namespace gsplit::cuda
