// The inverse of a block: its edges sorted by column. The sort is stable, so destinations ascend
// within each row of the inverse.
#include "kernels/base/bisect.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sampling.h"
#include "kernels/cuda/scan.h"

namespace gsplit::cuda {
namespace {

__global__ void number_edges(std::int64_t edges, RowIndex* numbers) {
  const std::int64_t e = index_of_thread();
  if (e < edges) numbers[e] = static_cast<RowIndex>(e);
}

/// (columns + 1) where the edges of each column begin among the sorted ones.
__global__ void column_offsets(const RowIndex* sorted, std::int64_t edges, std::int64_t columns,
                               RowIndex* offsets) {
  const std::int64_t j = index_of_thread();
  if (j > columns) return;
  offsets[j] =
      j == 0 ? 0 : static_cast<RowIndex>(count_up_to(sorted, edges, static_cast<RowIndex>(j - 1)));
}

/// Whose row of `indptr` (destinations + 1) each edge is in.
__global__ void destinations_of(const RowIndex* edges, std::int64_t count, const RowIndex* indptr,
                                std::int64_t destinations, RowIndex* found) {
  const std::int64_t e = index_of_thread();
  if (e < count) {
    found[e] = static_cast<RowIndex>(count_up_to(indptr, destinations + 1, edges[e]) - 1);
  }
}

}  // namespace

InverseCsr invert(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                  std::size_t num_columns, const Queue& queue) {
  const auto edges = static_cast<std::int64_t>(columns.size());
  const auto width = static_cast<std::int64_t>(num_columns);
  const auto bound = static_cast<RowIndex>(num_columns);
  Buffer<RowIndex> numbers(queue.memory, columns.size());
  if (edges > 0) {
    number_edges<<<blocks_for(edges), kBlock, 0, queue.raw()>>>(edges, numbers.data());
    check_launch("number_edges");
  }
  SortedPairs sorted = sort_pairs(columns.data(), numbers.data(), columns.size(), bound, queue);
  InverseCsr inverse{{queue.memory, num_columns + 1}, {queue.memory, columns.size()}, {}};
  column_offsets<<<blocks_for(width + 1), kBlock, 0, queue.raw()>>>(sorted.keys.data(), edges,
                                                                    width, inverse.indptr.data());
  check_launch("column_offsets");
  if (edges > 0) {
    destinations_of<<<blocks_for(edges), kBlock, 0, queue.raw()>>>(
        sorted.values.data(), edges, indptr.data(), static_cast<std::int64_t>(indptr.size()) - 1,
        inverse.destinations.data());
    check_launch("destinations_of");
  }
  inverse.edges = std::move(sorted.values);
  return inverse;
}

}  // namespace gsplit::cuda
