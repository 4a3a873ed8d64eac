// Ops between a row of several heads and one value or one row per head. Bound by memory: each row
// is read once, by a warp or element by element.
#include "kernels/cuda/reduce.cuh"

namespace gsplit::cuda {
namespace {

constexpr std::int64_t kLeastRows = 256, kMostChunks = 64;  // of a partial sum

/// Rows of one block of `width` columns per head.
struct Heads {
  std::int64_t rows;
  std::int64_t heads;
  std::int64_t width;
};

/// A warp a row.
template <class S>
__global__ void head_dots_kernel(Heads shape, Rows<const S> values,
                                 Rows<const compute_type<S>> vectors,
                                 Rows<compute_type<S>> logits) {
  using T = compute_type<S>;
  const std::int64_t i = index_of_thread() / kWarp;
  if (i >= shape.rows) return;
  const int lane = threadIdx.x % kWarp;
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    const S* const value = values.row(i) + h * shape.width;
    T dot{0};
    for (std::int64_t c = lane; c < shape.width; c += kWarp) {
      dot += widen(value[c]) * vectors.row(h)[c];
    }
    dot = warp_sum(dot);
    if (lane == 0) logits.row(i)[h] = dot;
  }
}

/// gradient[i][h * width + c] += logits_gradient[i][h] * vector[h][c]
template <class S>
__global__ void add_head_vectors(Heads shape, Rows<const compute_type<S>> vectors,
                                 Rows<const compute_type<S>> logits_gradient, Rows<S> gradient) {
  const std::int64_t i = row_of_thread();
  if (i >= shape.rows) return;
  S* const row = gradient.row(i);
  for (std::int64_t c = first_column<1>(); c < shape.heads * shape.width; c += column_step<1>()) {
    const std::int64_t h = c / shape.width;
    row[c] =
        narrow<S>(widen(row[c]) + logits_gradient.row(i)[h] * vectors.row(h)[c - h * shape.width]);
  }
}

/// Block (x, y): `chunk` rows, columns [32 y, 32 y + 32): sums of a row's elements times its head's
/// factor. Eight warps take every eighth row.
template <class S>
__global__ void head_chunk_sums(Heads shape, Rows<const S> values,
                                Rows<const compute_type<S>> factors, std::int64_t chunk,
                                compute_type<S>* partial) {
  using T = compute_type<S>;
  __shared__ T warps[kWarpsPerBlock][kWarp];
  const int lane = threadIdx.x, warp = threadIdx.y;
  const std::int64_t cols = shape.heads * shape.width;
  const std::int64_t column = std::int64_t{blockIdx.y} * kWarp + lane;
  const std::int64_t begin = blockIdx.x * chunk, end = min(begin + chunk, shape.rows);
  T sum{0};
  if (column < cols) {
    const std::int64_t h = column / shape.width;
    for (std::int64_t i = begin + warp; i < end; i += kWarpsPerBlock) {
      sum += factors.row(i)[h] * widen(values.row(i)[column]);
    }
  }
  warps[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= cols) return;
  for (int w = 1; w < kWarpsPerBlock; ++w) sum += warps[w][lane];
  partial[blockIdx.x * cols + column] = sum;
}

/// vectors[h][c] += the chunks' sums, in order.
template <class T>
__global__ void add_head_chunks(Heads shape, const T* partial, std::int64_t chunks,
                                Rows<T> vectors) {
  const std::int64_t cols = shape.heads * shape.width, column = index_of_thread();
  if (column >= cols) return;
  T sum{0};
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * cols + column];
  const std::int64_t h = column / shape.width;
  vectors.row(h)[column - h * shape.width] += sum;
}

template <class S, class Out>
__global__ void mean_heads_kernel(Heads shape, Rows<const S> values, Rows<Out> output) {
  using T = compute_type<S>;
  const std::int64_t i = row_of_thread();
  if (i >= shape.rows) return;
  for (std::int64_t c = first_column<1>(); c < shape.width; c += column_step<1>()) {
    T sum{0};
    for (std::int64_t h = 0; h < shape.heads; ++h) sum += widen(values.row(i)[h * shape.width + c]);
    output.row(i)[c] = narrow<Out>(sum / static_cast<T>(shape.heads));
  }
}

template <class S>
__global__ void mean_heads_backward_kernel(Heads shape, Rows<const S> gradient, Rows<S> values) {
  using T = compute_type<S>;
  const std::int64_t i = row_of_thread();
  if (i >= shape.rows) return;
  for (std::int64_t c = first_column<1>(); c < shape.heads * shape.width; c += column_step<1>()) {
    values.row(i)[c] =
        narrow<S>(widen(gradient.row(i)[c % shape.width]) / static_cast<T>(shape.heads));
  }
}

template <class S>
void dots_backward(const HeadDotsBackwardArgs& args, const Queue& queue) {
  using T = compute_type<S>;
  const Heads shape{args.values.rows, args.vector.rows, args.vector.cols};
  const std::int64_t cols = shape.heads * shape.width;
  const std::int64_t chunk = std::max(kLeastRows, (shape.rows + kMostChunks - 1) / kMostChunks);
  const std::int64_t chunks = (shape.rows + chunk - 1) / chunk;
  const Rows<const T> logits_gradient = rows_of<T>(args.logits_gradient);
  // Before the gradient of the values, which may be the values.
  Buffer<T> partial(queue.memory, static_cast<std::size_t>(chunks * cols));
  const dim3 grid(static_cast<unsigned>(chunks), static_cast<unsigned>((cols + kWarp - 1) / kWarp));
  head_chunk_sums<S><<<grid, dim3(kWarp, kWarpsPerBlock), 0, queue.raw()>>>(
      shape, rows_of<S>(args.values), logits_gradient, chunk, partial.data());
  check_launch("head_chunk_sums");
  add_head_chunks<T><<<blocks_for(cols), kBlock, 0, queue.raw()>>>(
      shape, partial.data(), chunks, rows_of<T>(args.vector_gradient));
  check_launch("add_head_chunks");
  const RowLaunch launch = over_rows(shape.rows, cols);
  add_head_vectors<S><<<launch.grid, launch.block, 0, queue.raw()>>>(
      shape, rows_of<T>(args.vector), logits_gradient, rows_of<S>(args.values_gradient));
  check_launch("add_head_vectors");
}

}  // namespace

void head_dots(const HeadDotsArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.values.cols == args.vector.rows * args.vector.cols);
  GSPLIT_CHECK(args.vector.dtype == compute_dtype(args.values.dtype));
  if (args.values.rows == 0) return;
  const Heads shape{args.values.rows, args.vector.rows, args.vector.cols};
  dispatch_rows(args.values.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = compute_type<S>;
    head_dots_kernel<S><<<blocks_for(shape.rows * kWarp), kBlock, 0, queue.raw()>>>(
        shape, rows_of<S>(args.values), rows_of<T>(args.vector), rows_of<T>(args.logits));
    check_launch("head_dots_kernel");
  });
}

void head_dots_backward(const HeadDotsBackwardArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.values_gradient.dtype == args.values.dtype);
  if (args.values.rows == 0) return;
  dispatch_rows(args.values.dtype, [&](auto zero) { dots_backward<decltype(zero)>(args, queue); });
}

void mean_heads(const MeanHeadsArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.output.dtype == args.values.dtype ||
               args.output.dtype == compute_dtype(args.values.dtype));
  if (args.output.rows == 0) return;
  const Heads shape{args.output.rows, args.values.cols / args.output.cols, args.output.cols};
  const RowLaunch launch = over_rows(shape.rows, shape.width);
  dispatch_rows(args.values.dtype, [&](auto zero) {
    using S = decltype(zero);
    const auto run = [&](auto out) {
      using Out = decltype(out);
      mean_heads_kernel<S, Out><<<launch.grid, launch.block, 0, queue.raw()>>>(
          shape, rows_of<S>(args.values), rows_of<Out>(args.output));
      check_launch("mean_heads_kernel");
    };
    if (args.output.dtype == args.values.dtype) return run(S{});
    run(compute_type<S>{});
  });
}

void mean_heads_backward(const MeanHeadsBackwardArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.output_gradient.dtype == args.values_gradient.dtype);
  if (args.values_gradient.rows == 0) return;
  const Heads shape{args.values_gradient.rows,
                    args.values_gradient.cols / args.output_gradient.cols,
                    args.output_gradient.cols};
  const RowLaunch launch = over_rows(shape.rows, args.values_gradient.cols);
  dispatch_rows(args.values_gradient.dtype, [&](auto zero) {
    using S = decltype(zero);
    mean_heads_backward_kernel<S><<<launch.grid, launch.block, 0, queue.raw()>>>(
        shape, rows_of<S>(args.output_gradient), rows_of<S>(args.values_gradient));
    check_launch("mean_heads_backward_kernel");
  });
}

}  // namespace gsplit::cuda
