// Bias, activation and dropout in one pass, forward and backward. A thread has the eight columns
// that share a block of random numbers (kernels/base/dropout.h). Bound by memory: each element is
// read once and written once; ten rounds of Philox an eight columns hide behind that.
#include "kernels/cuda/launch.cuh"

namespace gsplit::cuda {
namespace {

constexpr int kColumns = static_cast<int>(kDropoutColumnsPerBlock);

template <class T>
struct Eight {
  T value[kColumns];
};

/// Up to eight elements from `row` on, widened; `count` of them exist. A load has 16 bytes at most.
/// Unrolled, so that they stay in registers.
template <int kMostPack, class S>
__device__ Eight<compute_type<S>> load(const S* row, int count) {
  constexpr int kPack = kMostPack < kWide<S> ? kMostPack : kWide<S>;
  Eight<compute_type<S>> result{};
#pragma unroll
  for (int c = 0; c < kColumns; c += kPack) {
    if (c >= count) continue;
    const Pack<S, kPack> values = pack_at<kPack>(row + c);
#pragma unroll
    for (int p = 0; p < kPack; ++p) result.value[c + p] = widen(values.value[p]);
  }
  return result;
}

template <int kPack, class S>
__device__ void store(const Eight<compute_type<S>>& values, S* row, int count) {
#pragma unroll
  for (int c = 0; c < kColumns; c += kPack) {
    if (c >= count) continue;
    Pack<S, kPack> part;
#pragma unroll
    for (int p = 0; p < kPack; ++p) part.value[p] = narrow<S>(values.value[c + p]);
    pack_at<kPack>(row + c) = part;
  }
}

/// NaN stays, so that a bad loss shows and is not hidden by zeros.
template <class T>
__device__ T activate(T x, Activation activation) {
  if (activation == Activation::kRelu) return x < T{0} ? T{0} : x;
  if (activation == Activation::kElu) return x > T{0} ? x : expm1(x);
  return x;
}

/// Which columns are kept, and what they are multiplied by.
struct Mask {
  DrawKey key;
  std::uint32_t threshold = 0;  ///< 0: all are kept
  double scale = 1;
  const OriginalId* nodes = nullptr;

  __device__ std::uint32_t kept(std::int64_t row, std::int64_t column) const {
    if (threshold == 0) return 0xFFu;
    return kept_columns(key, threshold, nodes[row], static_cast<std::uint32_t>(column / kColumns));
  }
};

template <class T>
__device__ void drop(Eight<T>& values, std::uint32_t kept, T scale) {
  for (int c = 0; c < kColumns; ++c) {
    values.value[c] = ((kept >> c) & 1u) != 0 ? values.value[c] * scale : T{0};
  }
}

struct Extent {
  std::int64_t rows;
  std::int64_t cols;
  __device__ int columns_from(std::int64_t c) const {
    return cols - c < kColumns ? static_cast<int>(cols - c) : kColumns;
  }
};

template <class S, int kPack>
__global__ void bias_activation_dropout_kernel(Rows<S> values, Extent extent,
                                               const compute_type<S>* bias, Activation activation,
                                               Mask mask) {
  using T = compute_type<S>;
  const std::int64_t i = row_of_thread();
  if (i >= extent.rows) return;
  const T scale = static_cast<T>(mask.scale);
  for (std::int64_t c = first_column<kColumns>(); c < extent.cols; c += column_step<kColumns>()) {
    const int count = extent.columns_from(c);
    Eight<T> x = load<kPack>(values.row(i) + c, count);
    if (bias != nullptr) {
      const Eight<T> b = load<kPack>(bias + c, count);
      for (int k = 0; k < kColumns; ++k) x.value[k] += b.value[k];
    }
    for (int k = 0; k < kColumns; ++k) x.value[k] = activate(x.value[k], activation);
    if (mask.threshold > 0) drop(x, mask.kept(i, c), scale);
    store<kPack>(x, values.row(i) + c, count);
  }
}

/// With ReLU the output alone tells: it is not 0 exactly where the input was positive and kept. The
/// derivative of ELU is 1 or, where the output y is negative, y + 1.
template <class T>
__device__ T derivative(T y, T scale, Activation activation) {
  if (activation == Activation::kRelu) return y != T{0} ? T{1} : T{0};
  if (activation == Activation::kElu && y < T{0}) return y / scale + T{1};
  return T{1};
}

template <class S, int kPack>
__global__ void activation_dropout_backward_kernel(Rows<S> gradient, Rows<const S> output,
                                                   Extent extent, Activation activation,
                                                   Mask mask) {
  using T = compute_type<S>;
  const std::int64_t i = row_of_thread();
  if (i >= extent.rows) return;
  const T scale = static_cast<T>(mask.scale);
  const bool draws = mask.threshold > 0 && activation != Activation::kRelu;
  for (std::int64_t c = first_column<kColumns>(); c < extent.cols; c += column_step<kColumns>()) {
    const int count = extent.columns_from(c);
    Eight<T> g = load<kPack>(gradient.row(i) + c, count);
    if (activation != Activation::kNone) {
      const Eight<T> y = load<kPack>(output.row(i) + c, count);
      for (int k = 0; k < kColumns; ++k) {
        const T factor = derivative(y.value[k], scale, activation);
        // What is 0 by ReLU stays 0 where the gradient is not finite.
        g.value[k] = factor == T{0} ? T{0} : g.value[k] * factor;
      }
    }
    drop(g, draws ? mask.kept(i, c) : 0xFFu, scale);
    store<kPack>(g, gradient.row(i) + c, count);
  }
}

Mask mask_of(const Dropout& dropout, std::span<const OriginalId> nodes) {
  if (dropout.probability <= 0) return {};
  return {dropout.key, dropout.threshold(), dropout.scale(), nodes.data()};
}

std::int64_t groups_of(std::int64_t cols) { return (cols + kColumns - 1) / kColumns; }

}  // namespace

void bias_activation_dropout(const BiasActivationDropoutArgs& args, const Queue& queue) {
  const MatrixView& values = args.values;
  GSPLIT_CHECK(args.bias.rows == 0 || args.bias.dtype == compute_dtype(values.dtype));
  if (values.rows == 0 || values.cols == 0) return;
  dispatch_rows(values.dtype, [&](auto zero) {
    using S = decltype(zero);
    const ConstMatrixView bias = args.bias.rows > 0 ? args.bias : ConstMatrixView(values);
    dispatch_width<S>({values, bias}, [&](auto pack) {
      const RowLaunch launch = over_rows(values.rows, groups_of(values.cols));
      bias_activation_dropout_kernel<S, decltype(pack)::value>
          <<<launch.grid, launch.block, 0, queue.raw()>>>(
              rows_of<S>(values), Extent{values.rows, values.cols},
              args.bias.rows > 0 ? args.bias.row<compute_type<S>>(0) : nullptr, args.activation,
              mask_of(args.dropout, args.nodes));
      check_launch("bias_activation_dropout_kernel");
    });
  });
}

void activation_dropout_backward(const ActivationDropoutBackwardArgs& args, const Queue& queue) {
  const MatrixView& gradient = args.gradient;
  GSPLIT_CHECK(args.output.dtype == gradient.dtype);
  if (gradient.rows == 0 || gradient.cols == 0) return;
  dispatch_rows(gradient.dtype, [&](auto zero) {
    using S = decltype(zero);
    dispatch_width<S>({gradient, args.output}, [&](auto pack) {
      const RowLaunch launch = over_rows(gradient.rows, groups_of(gradient.cols));
      activation_dropout_backward_kernel<S, decltype(pack)::value>
          <<<launch.grid, launch.block, 0, queue.raw()>>>(
              rows_of<S>(gradient), rows_of<S>(args.output), Extent{gradient.rows, gradient.cols},
              args.activation, mask_of(args.dropout, args.nodes));
      check_launch("activation_dropout_backward_kernel");
    });
  });
}

}  // namespace gsplit::cuda
