#include "kernels/cuda/scan.h"

#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "kernels/cuda/check.h"

namespace gsplit::cuda {
namespace {

/// Calls `work(workspace, bytes)` twice, as CUB has it: to learn how much it needs, and to do it.
template <class Work>
void with_workspace(const Queue& queue, const char* what, Work work) {
  std::size_t bytes = 0;
  check(work(nullptr, bytes), what);
  Buffer<std::byte> workspace(queue.memory, bytes);
  check(work(workspace.data(), bytes), what);
}

template <class T>
void sum(const T* input, T* output, std::size_t count, const Queue& queue) {
  if (count == 0) return;
  with_workspace(queue, "a prefix sum", [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceScan::ExclusiveSum(workspace, bytes, input, output,
                                         static_cast<std::int64_t>(count), queue.raw());
  });
}

}  // namespace

void exclusive_sum(const std::uint32_t* input, std::uint32_t* output, std::size_t count,
                   const Queue& queue) {
  sum(input, output, count, queue);
}

void exclusive_sum(const std::uint64_t* input, std::uint64_t* output, std::size_t count,
                   const Queue& queue) {
  sum(input, output, count, queue);
}

SortedPairs sort_pairs(const std::uint32_t* keys, const std::uint32_t* values, std::size_t count,
                       std::uint32_t bound, const Queue& queue) {
  SortedPairs sorted{{queue.memory, count}, {queue.memory, count}};
  if (count == 0) return sorted;
  with_workspace(queue, "sorting", [&](void* workspace, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(workspace, bytes, keys, sorted.keys.data(), values,
                                           sorted.values.data(), static_cast<std::int64_t>(count),
                                           0, std::bit_width(bound), queue.raw());
  });
  return sorted;
}

}  // namespace gsplit::cuda
