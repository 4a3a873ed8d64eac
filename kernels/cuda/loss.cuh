// What both losses share: a warp a row, a block a fixed chunk of rows, and a sum for each chunk;
// the host, which waits for the loss, adds the chunks up in order. A batch's logits are few:
// latency decides.
#pragma once

#include "kernels/cuda/reduce.cuh"

namespace gsplit::cuda {

inline constexpr std::int64_t kLossChunk = kWarpsPerBlock;  // rows a block

/// Sums add_row(row) -> DeviceSums, which every lane of a warp calls and lane 0 answers, over the
/// block's chunk of rows. REQUIRES: blocks of kBlock threads, one a chunk.
template <class AddRow>
__device__ void sum_chunk(std::int64_t rows, AddRow add_row, DeviceSums* chunks) {
  const std::int64_t begin = blockIdx.x * kLossChunk, end = min(begin + kLossChunk, rows);
  DeviceSums sums;
  for (std::int64_t i = begin + threadIdx.x / kWarp; i < end; i += kWarpsPerBlock) {
    const DeviceSums row = add_row(i);
    if (threadIdx.x % kWarp == 0) sums = sums + row;
  }
  const DeviceSums total = block_reduce(sums, [](auto a, auto b) { return a + b; });
  if (threadIdx.x == 0) chunks[blockIdx.x] = total;
}

/// Runs launch(blocks, chunks), which fills one DeviceSums a block, and adds them up.
template <class Launch>
LossSums add_up(std::int64_t rows, const Queue& queue, Launch launch) {
  if (rows == 0) return {};
  const std::int64_t blocks = (rows + kLossChunk - 1) / kLossChunk;
  Buffer<DeviceSums> chunks(queue.memory, static_cast<std::size_t>(blocks));
  launch(static_cast<unsigned>(blocks), chunks.data());
  LossSums total;
  // Few, and the host waits for them anyway: it adds them in order.
  for (const DeviceSums& chunk : queue.memory.read(chunks.data(), chunks.size(), queue.stream)) {
    total += {chunk.loss, {chunk.true_positives, chunk.false_positives, chunk.false_negatives}};
  }
  return total;
}

}  // namespace gsplit::cuda
