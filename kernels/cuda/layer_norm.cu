// Layer normalisation, a warp a row. Bound by memory: a row is read three times, twice of them from
// L1; forward writes it twice.
#include "kernels/cuda/reduce.cuh"

namespace gsplit::cuda {
namespace {

template <class S>
struct Forward {
  using T = compute_type<S>;
  Rows<S> values;
  const T* bias;
  const T* weight;
  const T* shift;
  Rows<S> normalized;
  Rows<T> inverse_sigma;
  std::int64_t rows;
  std::int64_t cols;
  T epsilon;
};

/// x, the row with its bias, is computed from what is stored at each of three passes: a rounded x
/// would be rounded twice.
template <class S>
__global__ void layer_norm_kernel(Forward<S> op) {
  using T = compute_type<S>;
  const std::int64_t i = row_of_thread();
  if (i >= op.rows) return;
  S* const row = op.values.row(i);
  S* const normalized = op.normalized.row(i);
  const auto x = [&](std::int64_t c) { return widen(row[c]) + op.bias[c]; };
  const T size = static_cast<T>(op.cols);
  T sum{0}, squares{0};
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) sum += x(c);
  const T mean = warp_sum(sum) / size;
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) {
    squares += (x(c) - mean) * (x(c) - mean);
  }
  const T inverse = T{1} / sqrt(warp_sum(squares) / size + op.epsilon);
  if (threadIdx.x == 0) *op.inverse_sigma.row(i) = inverse;
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) {
    const T n = (x(c) - mean) * inverse;
    normalized[c] = narrow<S>(n);
    row[c] = narrow<S>(n * op.weight[c] + op.shift[c]);
  }
}

template <class S>
struct Backward {
  using T = compute_type<S>;
  Rows<S> gradient;
  Rows<const S> normalized;
  Rows<const T> inverse_sigma;
  const T* weight;
  std::int64_t rows;
  std::int64_t cols;
};

template <class S>
__global__ void layer_norm_backward_kernel(Backward<S> op) {
  using T = compute_type<S>;
  const std::int64_t i = row_of_thread();
  if (i >= op.rows) return;
  S* const gradient = op.gradient.row(i);
  const S* const normalized = op.normalized.row(i);
  T sum{0}, products{0};
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) {
    const T weighted = widen(gradient[c]) * op.weight[c];
    sum += weighted;
    products += weighted * widen(normalized[c]);
  }
  const T mean = warp_sum(sum) / static_cast<T>(op.cols);
  const T projection = warp_sum(products) / static_cast<T>(op.cols);
  const T inverse = *op.inverse_sigma.row(i);
  for (std::int64_t c = threadIdx.x; c < op.cols; c += kWarp) {
    const T weighted = widen(gradient[c]) * op.weight[c];
    gradient[c] = narrow<S>(inverse * (weighted - mean - widen(normalized[c]) * projection));
  }
}

}  // namespace

void layer_norm(const LayerNormArgs& args, const Queue& queue) {
  const MatrixView& values = args.values;
  GSPLIT_CHECK(args.normalized.dtype == values.dtype);
  GSPLIT_CHECK(args.weight.dtype == compute_dtype(values.dtype));
  if (values.rows == 0 || values.cols == 0) return;
  dispatch_rows(values.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = compute_type<S>;
    const RowLaunch launch = over_rows(values.rows, kWarp);
    layer_norm_kernel<S><<<launch.grid, launch.block, 0, queue.raw()>>>(
        {.values = rows_of<S>(values),
         .bias = args.bias.row<T>(0),
         .weight = args.weight.row<T>(0),
         .shift = args.shift.row<T>(0),
         .normalized = rows_of<S>(args.normalized),
         .inverse_sigma = rows_of<T>(args.inverse_sigma),
         .rows = values.rows,
         .cols = values.cols,
         .epsilon = static_cast<T>(args.epsilon)});
    check_launch("layer_norm_kernel");
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& args, const Queue& queue) {
  const MatrixView& gradient = args.gradient;
  GSPLIT_CHECK(args.normalized.dtype == gradient.dtype);
  dispatch_rows(gradient.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = compute_type<S>;
    // Before the rows of the gradient are overwritten.
    const ConstMatrixView upstream = gradient;
    ColumnSums<S> sums{
        rows_of<S>(upstream), {}, gradient.rows, gradient.cols, args.shift_gradient.row<T>(0)};
    sum_columns(sums, queue);
    sums.factor = rows_of<S>(args.normalized);
    sums.output = args.weight_gradient.row<T>(0);
    sum_columns(sums, queue);
    if (gradient.rows == 0 || gradient.cols == 0) return;
    const RowLaunch launch = over_rows(gradient.rows, kWarp);
    layer_norm_backward_kernel<S><<<launch.grid, launch.block, 0, queue.raw()>>>(
        {.gradient = rows_of<S>(gradient),
         .normalized = rows_of<S>(args.normalized),
         .inverse_sigma = rows_of<T>(args.inverse_sigma),
         .weight = args.weight.row<T>(0),
         .rows = gradient.rows,
         .cols = gradient.cols});
    check_launch("layer_norm_backward_kernel");
  });
}

}  // namespace gsplit::cuda
