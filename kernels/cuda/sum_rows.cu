// Sums over rows, for the gradients of biases and of layer normalisation. First each block sums a
// chunk of rows, then a second kernel adds the chunks up in order: few, since it waits for one
// after the other. Bound by memory: the matrix is read once, 128 bytes a warp.
#include "kernels/cuda/reduce.cuh"

namespace gsplit::cuda {
namespace {

constexpr std::int64_t kLeastRows = 256, kMostChunks = 64;

/// Rows of a partial sum.
std::int64_t chunk_of(std::int64_t rows) {
  return std::max(kLeastRows, (rows + kMostChunks - 1) / kMostChunks);
}

/// Block (x, y): chunk x, columns [32 y, 32 y + 32). Its eight warps take every eighth row.
template <class S>
__global__ void chunk_sums(ColumnSums<S> sums, std::int64_t chunk, compute_type<S>* partial) {
  using T = compute_type<S>;
  __shared__ T warps[kWarpsPerBlock][kWarp];
  const int lane = threadIdx.x, warp = threadIdx.y;
  const std::int64_t column = std::int64_t{blockIdx.y} * kWarp + lane;
  const std::int64_t begin = blockIdx.x * chunk;
  const std::int64_t end = min(begin + chunk, sums.rows);
  T sum{0};
  if (column < sums.cols) {
#pragma unroll 4
    for (std::int64_t i = begin + warp; i < end; i += kWarpsPerBlock) {
      const T value = widen(sums.matrix.row(i)[column]);
      sum += sums.factor.data == nullptr ? value : value * widen(sums.factor.row(i)[column]);
    }
  }
  warps[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= sums.cols) return;
  for (int w = 1; w < kWarpsPerBlock; ++w) sum += warps[w][lane];
  partial[blockIdx.x * sums.cols + column] = sum;
}

template <class T>
__global__ void add_chunks(const T* partial, std::int64_t chunks, std::int64_t cols, T* output) {
  const std::int64_t column = index_of_thread();
  if (column >= cols) return;
  T sum{0};
#pragma unroll 8
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * cols + column];
  output[column] = sum;
}

}  // namespace

template <class S>
void sum_columns(const ColumnSums<S>& sums, const Queue& queue) {
  using T = compute_type<S>;
  if (sums.cols == 0) return;
  const std::int64_t chunk = chunk_of(sums.rows), chunks = (sums.rows + chunk - 1) / chunk;
  Buffer<T> partial(queue.memory, static_cast<std::size_t>(chunks * sums.cols));
  if (chunks > 0) {
    const dim3 grid(static_cast<unsigned>(chunks),
                    static_cast<unsigned>((sums.cols + kWarp - 1) / kWarp));
    chunk_sums<S>
        <<<grid, dim3(kWarp, kWarpsPerBlock), 0, queue.raw()>>>(sums, chunk, partial.data());
    check_launch("chunk_sums");
  }
  add_chunks<T><<<blocks_for(sums.cols), kBlock, 0, queue.raw()>>>(partial.data(), chunks,
                                                                   sums.cols, sums.output);
  check_launch("add_chunks");
}

template void sum_columns(const ColumnSums<BFloat16>& sums, const Queue& queue);
template void sum_columns(const ColumnSums<float>& sums, const Queue& queue);
template void sum_columns(const ColumnSums<double>& sums, const Queue& queue);

void sum_rows(const SumRowsArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.sum.rows == 1 && args.sum.cols == args.matrix.cols);
  GSPLIT_CHECK(args.sum.dtype == compute_dtype(args.matrix.dtype));
  dispatch_rows(args.matrix.dtype, [&](auto zero) {
    using S = decltype(zero);
    sum_columns<S>({.matrix = rows_of<S>(args.matrix),
                    .factor = {},
                    .rows = args.matrix.rows,
                    .cols = args.matrix.cols,
                    .output = args.sum.row<compute_type<S>>(0)},
                   queue);
  });
}

}  // namespace gsplit::cuda
