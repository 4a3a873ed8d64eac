#include "kernels/cuda/loss.cuh"

namespace gsplit::cuda {
namespace {

template <class T>
struct Loss {
  Rows<const T> logits;
  const std::int32_t* labels;
  const double* class_weights;  ///< null: 1
  Rows<T> gradient;             ///< data null: not wanted
  std::int64_t rows;
  std::int64_t cols;
  double scale;
};

/// The largest of a row and where it stands first.
struct Top {
  double value;
  std::int64_t column;
};

__device__ Top larger(const Top& a, const Top& b) {
  if (a.value != b.value) return a.value > b.value ? a : b;
  return a.column < b.column ? a : b;
}

/// In every lane.
template <class T>
__device__ Top top_of(const T* logits, std::int64_t cols) {
  Top top{-std::numeric_limits<double>::infinity(), std::numeric_limits<std::int64_t>::max()};
  for (std::int64_t c = threadIdx.x % kWarp; c < cols; c += kWarp) {
    top = larger(top, {static_cast<double>(logits[c]), c});
  }
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    top = larger(top, {__shfl_xor_sync(kAllLanes, top.value, distance),
                       __shfl_xor_sync(kAllLanes, top.column, distance)});
  }
  return top;
}

template <class T>
__device__ DeviceSums row_loss(const Loss<T>& op, std::int64_t i) {
  const T* const logits = op.logits.row(i);
  const std::int64_t label = op.labels[i];
  const double weight = op.class_weights == nullptr ? 1.0 : op.class_weights[label];
  const Top top = top_of(logits, op.cols);
  double part = 0;
  for (std::int64_t c = threadIdx.x % kWarp; c < op.cols; c += kWarp) {
    part += exp(static_cast<double>(logits[c]) - top.value);
  }
  const double sum = warp_sum(part);
  if (op.gradient.data != nullptr) {
    for (std::int64_t c = threadIdx.x % kWarp; c < op.cols; c += kWarp) {
      const double probability = exp(static_cast<double>(logits[c]) - top.value) / sum;
      op.gradient.row(i)[c] =
          static_cast<T>(op.scale * weight * (probability - (c == label ? 1.0 : 0.0)));
    }
  }
  const bool hit = top.column == label;
  return {weight * (log(sum) + top.value - static_cast<double>(logits[label])), hit ? 1ull : 0ull,
          hit ? 0ull : 1ull, hit ? 0ull : 1ull};
}

template <class T>
__global__ void cross_entropy_kernel(Loss<T> op, DeviceSums* chunks) {
  sum_chunk(
      op.rows, [&](std::int64_t i) { return row_loss(op, i); }, chunks);
}

}  // namespace

LossSums cross_entropy(const CrossEntropyArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.logits.rows == static_cast<std::int64_t>(args.labels.size()));
  GSPLIT_CHECK(args.class_weights.empty() ||
               args.logits.cols == static_cast<std::int64_t>(args.class_weights.size()));
  return add_up(args.logits.rows, queue, [&](unsigned blocks, DeviceSums* chunks) {
    dispatch_compute(args.logits.dtype, [&](auto zero) {
      using T = decltype(zero);
      const Loss<T> op{.logits = rows_of<T>(args.logits),
                       .labels = args.labels.data(),
                       .class_weights = data_or_null(args.class_weights),
                       .gradient = args.gradient.rows > 0 ? rows_of<T>(args.gradient) : Rows<T>{},
                       .rows = args.logits.rows,
                       .cols = args.logits.cols,
                       .scale = args.scale};
      cross_entropy_kernel<T><<<blocks, kBlock, 0, queue.raw()>>>(op, chunks);
      check_launch("cross_entropy_kernel");
    });
  });
}

}  // namespace gsplit::cuda
