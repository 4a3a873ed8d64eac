// Layer normalisation, a warp a row. Bound by memory: a row is read three times, twice of them from
// L1; forward writes it twice.
#include "kernels/cuda/reduce.cuh"

namespace gsplit::cuda {
namespace {

template <class T>
struct Forward {
  Rows<T> values;
  const T* bias;
  const T* weight;
  const T* shift;
  Rows<T> normalized;
  Rows<T> inverse_sigma;
  std::int64_t rows;
  std::int64_t cols;
  T epsilon;
};

template <class T>
__global__ void layer_norm_kernel(Forward<T> op) {
  const std::int64_t i = row_of_thread();
  if (i >= op.rows) return;
  T* const row = op.values.row(i);
  T* const normalized = op.normalized.row(i);
  const T size = static_cast<T>(op.cols);
  T sum{0}, squares{0};
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) sum += row[c] += op.bias[c];
  const T mean = warp_sum(sum) / size;
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) {
    squares += (row[c] - mean) * (row[c] - mean);
  }
  const T inverse = T{1} / sqrt(warp_sum(squares) / size + op.epsilon);
  if (threadIdx.x == 0) *op.inverse_sigma.row(i) = inverse;
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) {
    normalized[c] = (row[c] - mean) * inverse;
    row[c] = normalized[c] * op.weight[c] + op.shift[c];
  }
}

template <class T>
struct Backward {
  Rows<T> gradient;
  Rows<const T> normalized;
  Rows<const T> inverse_sigma;
  const T* weight;
  std::int64_t rows;
  std::int64_t cols;
};

template <class T>
__global__ void layer_norm_backward_kernel(Backward<T> op) {
  const std::int64_t i = row_of_thread();
  if (i >= op.rows) return;
  T* const gradient = op.gradient.row(i);
  const T* const normalized = op.normalized.row(i);
  T sum{0}, products{0};
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) {
    const T weighted = gradient[c] * op.weight[c];
    sum += weighted;
    products += weighted * normalized[c];
  }
  const T mean = warp_sum(sum) / static_cast<T>(op.cols);
  const T projection = warp_sum(products) / static_cast<T>(op.cols);
  const T inverse = *op.inverse_sigma.row(i);
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) {
    gradient[c] = inverse * (gradient[c] * op.weight[c] - mean - normalized[c] * projection);
  }
}

}  // namespace

void layer_norm(const LayerNormArgs& args, const Queue& queue) {
  const MatrixView& values = args.values;
  if (values.rows == 0 || values.cols == 0) return;
  dispatch_compute(values.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowLaunch launch = over_rows(values.rows, kWarp);
    layer_norm_kernel<T><<<launch.grid, launch.block, 0, queue.raw()>>>(
        {.values = rows_of<T>(values),
         .bias = args.bias.row<T>(0),
         .weight = args.weight.row<T>(0),
         .shift = args.shift.row<T>(0),
         .normalized = rows_of<T>(args.normalized),
         .inverse_sigma = rows_of<T>(args.inverse_sigma),
         .rows = values.rows,
         .cols = values.cols,
         .epsilon = static_cast<T>(args.epsilon)});
    check_launch("layer_norm_kernel");
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& args, const Queue& queue) {
  const MatrixView& gradient = args.gradient;
  dispatch_compute(gradient.dtype, [&](auto zero) {
    using T = decltype(zero);
    // Before the rows of the gradient are overwritten.
    const ConstMatrixView upstream = gradient;
    ColumnSums<T> sums{
        rows_of<T>(upstream), {}, gradient.rows, gradient.cols, args.shift_gradient.row<T>(0)};
    sum_columns(sums, queue);
    sums.factor = rows_of<T>(args.normalized);
    sums.output = args.weight_gradient.row<T>(0);
    sum_columns(sums, queue);
    if (gradient.rows == 0 || gradient.cols == 0) return;
    const RowLaunch launch = over_rows(gradient.rows, kWarp);
    layer_norm_backward_kernel<T><<<launch.grid, launch.block, 0, queue.raw()>>>(
        {.gradient = rows_of<T>(gradient),
         .normalized = rows_of<T>(args.normalized),
         .inverse_sigma = rows_of<T>(args.inverse_sigma),
         .weight = args.weight.row<T>(0),
         .rows = gradient.rows,
         .cols = gradient.cols});
    check_launch("layer_norm_backward_kernel");
  });
}

}  // namespace gsplit::cuda
