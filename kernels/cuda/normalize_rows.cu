// Feature normalisation: a warp a row, and the smallest element of all. Bound by memory.
#include "kernels/cuda/reduce.cuh"

namespace gsplit::cuda {
namespace {

constexpr std::int64_t kChunk = 16384;  // elements a block

template <class T>
__global__ void normalize_rows_kernel(Rows<T> matrix, std::int64_t rows, std::int64_t cols,
                                      T offset) {
  const std::int64_t i = row_of_thread();
  if (i >= rows) return;
  T* const row = matrix.row(i);
  T part{0};
  for (std::int64_t c = threadIdx.x; c < cols; c += kWarp) part += row[c] -= offset;
  const T sum = warp_sum(part);
  const T divisor = sum > T{1} ? sum : T{1};
  for (std::int64_t c = threadIdx.x; c < cols; c += kWarp) row[c] /= divisor;
}

template <class T>
__global__ void chunk_minima(Rows<const T> matrix, std::int64_t rows, std::int64_t cols,
                             double* minima) {
  const std::int64_t begin = blockIdx.x * kChunk, end = min(begin + kChunk, rows * cols);
  double least = std::numeric_limits<double>::infinity();
  for (std::int64_t k = begin + threadIdx.x; k < end; k += kBlock) {
    least = fmin(least, double{widen(matrix.row(k / cols)[k % cols])});
  }
  least = block_reduce(least, [](double a, double b) { return fmin(a, b); });
  if (threadIdx.x == 0) minima[blockIdx.x] = least;
}

}  // namespace

void normalize_rows(const NormalizeRowsArgs& args, const Queue& queue) {
  const MatrixView& matrix = args.matrix;
  if (matrix.rows == 0 || matrix.cols == 0) return;
  dispatch_compute(matrix.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowLaunch launch = over_rows(matrix.rows, kWarp);
    normalize_rows_kernel<T><<<launch.grid, launch.block, 0, queue.raw()>>>(
        rows_of<T>(matrix), matrix.rows, matrix.cols, static_cast<T>(args.offset));
    check_launch("normalize_rows_kernel");
  });
}

double smallest(ConstMatrixView matrix, const Queue& queue) {
  double least = std::numeric_limits<double>::infinity();
  const std::int64_t blocks = (matrix.rows * matrix.cols + kChunk - 1) / kChunk;
  if (blocks == 0) return least;
  Buffer<double> minima(queue.memory, static_cast<std::size_t>(blocks));
  dispatch_storage(matrix.dtype, [&](auto zero) {
    using T = decltype(zero);
    chunk_minima<T><<<static_cast<unsigned>(blocks), kBlock, 0, queue.raw()>>>(
        rows_of<T>(matrix), matrix.rows, matrix.cols, minima.data());
    check_launch("chunk_minima");
  });
  for (double chunk : queue.memory.read(minima.data(), minima.size(), queue.stream)) {
    least = std::min(least, chunk);
  }
  return least;
}

}  // namespace gsplit::cuda
