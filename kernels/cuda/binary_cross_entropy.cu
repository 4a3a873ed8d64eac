#include "kernels/cuda/loss.cuh"

namespace gsplit::cuda {
namespace {

template <class T>
struct Loss {
  Rows<const T> logits;
  const std::uint8_t* labels;      ///< (rows, cols)
  const double* positive_weights;  ///< null: 1
  Rows<T> gradient;                ///< data null: not wanted
  std::int64_t rows;
  std::int64_t cols;
  double scale;
};

/// softplus(z) = log(1 + exp(z)) for any z: exp() only sees numbers that are not positive.
struct Softplus {
  double value;
  double derivative;
};

__device__ Softplus softplus(double z) {
  const double small = exp(-fabs(z));
  return {fmax(z, 0.0) + log1p(small), (z >= 0 ? 1 : small) / (1 + small)};
}

template <class T>
__device__ DeviceSums element_loss(const Loss<T>& op, std::int64_t i, std::int64_t c) {
  const auto x = static_cast<double>(op.logits.row(i)[c]);
  const bool label = op.labels[i * op.cols + c] != 0;
  // Both terms of the loss are softplus of the logit away from the label's side.
  const double sign = label ? -1 : 1;
  const double weight = label && op.positive_weights != nullptr ? op.positive_weights[c] : 1;
  const Softplus term = softplus(sign * x);
  if (op.gradient.data != nullptr) {
    op.gradient.row(i)[c] = static_cast<T>(op.scale * sign * weight * term.derivative);
  }
  const bool predicted = x > 0;
  return {weight * term.value, predicted && label ? 1ull : 0ull, predicted && !label ? 1ull : 0ull,
          !predicted && label ? 1ull : 0ull};
}

template <class T>
__device__ DeviceSums row_loss(const Loss<T>& op, std::int64_t i) {
  DeviceSums sums;
  for (std::int64_t c = threadIdx.x % kWarp; c < op.cols; c += kWarp) {
    sums = sums + element_loss(op, i, c);
  }
  return {warp_sum(sums.loss), warp_sum(sums.true_positives), warp_sum(sums.false_positives),
          warp_sum(sums.false_negatives)};
}

template <class T>
__global__ void binary_cross_entropy_kernel(Loss<T> op, DeviceSums* chunks) {
  sum_chunk(
      op.rows, [&](std::int64_t i) { return row_loss(op, i); }, chunks);
}

}  // namespace

LossSums binary_cross_entropy(const BinaryCrossEntropyArgs& args, const Queue& queue) {
  const std::int64_t classes = args.logits.cols;
  GSPLIT_CHECK(args.logits.rows * classes == static_cast<std::int64_t>(args.labels.size()));
  GSPLIT_CHECK(args.positive_weights.empty() ||
               classes == static_cast<std::int64_t>(args.positive_weights.size()));
  return add_up(args.logits.rows, queue, [&](unsigned blocks, DeviceSums* chunks) {
    dispatch_compute(args.logits.dtype, [&](auto zero) {
      using T = decltype(zero);
      const Loss<T> op{.logits = rows_of<T>(args.logits),
                       .labels = args.labels.data(),
                       .positive_weights = data_or_null(args.positive_weights),
                       .gradient = args.gradient.rows > 0 ? rows_of<T>(args.gradient) : Rows<T>{},
                       .rows = args.logits.rows,
                       .cols = classes,
                       .scale = args.scale};
      binary_cross_entropy_kernel<T><<<blocks, kBlock, 0, queue.raw()>>>(op, chunks);
      check_launch("binary_cross_entropy_kernel");
    });
  });
}

}  // namespace gsplit::cuda
