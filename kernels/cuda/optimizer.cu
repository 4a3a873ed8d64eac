// Parameter updates and what clipping is made of. Bound by memory; one thread an element, in a flat
// vector.
#include <cmath>

#include "kernels/cuda/reduce.cuh"

namespace gsplit::cuda {
namespace {

constexpr std::int64_t kChunk = 16384;  // elements per partial sum

template <class T>
struct Adam {
  T* w;
  const T* gradients;
  T* m;
  T* v;
  std::int64_t size;
  T step_size, root_correction, beta1, rest1, beta2, rest2, epsilon, l2, kept;
};

template <class T>
__global__ void adam_kernel(Adam<T> op) {
  const std::int64_t i = index_of_thread();
  if (i >= op.size) return;
  const T w = op.w[i];
  const T g = op.gradients[i] + op.l2 * w;
  const T m = op.beta1 * op.m[i] + op.rest1 * g;
  const T v = op.beta2 * op.v[i] + op.rest2 * g * g;
  op.m[i] = m;
  op.v[i] = v;
  op.w[i] = op.kept * w - op.step_size * m / (sqrt(v) / op.root_correction + op.epsilon);
}

template <class T>
Adam<T> adam_of(const AdamArgs& args) {
  const double steps = static_cast<double>(args.step);
  const double decay = args.learning_rate * args.weight_decay;
  return {
      .w = args.parameters.row<T>(0),
      .gradients = args.gradients.row<T>(0),
      .m = args.first_moment.row<T>(0),
      .v = args.second_moment.row<T>(0),
      .size = args.parameters.cols,
      .step_size = static_cast<T>(args.learning_rate / (1.0 - std::pow(args.beta1, steps))),
      .root_correction = static_cast<T>(std::sqrt(1.0 - std::pow(args.beta2, steps))),
      .beta1 = static_cast<T>(args.beta1),
      .rest1 = static_cast<T>(1.0 - args.beta1),
      .beta2 = static_cast<T>(args.beta2),
      .rest2 = static_cast<T>(1.0 - args.beta2),
      .epsilon = static_cast<T>(args.epsilon),
      .l2 = static_cast<T>(args.decoupled ? 0.0 : args.weight_decay),
      .kept = static_cast<T>(args.decoupled ? 1.0 - decay : 1.0),
  };
}

template <class T>
struct Sgd {
  T* w;
  const T* gradients;
  T* velocity;  ///< null: no momentum
  std::int64_t size;
  T rate, momentum, decay;
};

template <class T>
__global__ void sgd_kernel(Sgd<T> op) {
  const std::int64_t i = index_of_thread();
  if (i >= op.size) return;
  T g = op.gradients[i] + op.decay * op.w[i];
  if (op.velocity != nullptr) g = op.velocity[i] = op.momentum * op.velocity[i] + g;
  op.w[i] -= op.rate * g;
}

template <class T>
__global__ void chunk_squares(const T* values, std::int64_t size, double* sums) {
  const std::int64_t begin = blockIdx.x * kChunk, end = min(begin + kChunk, size);
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kBlock) {
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  sum = block_reduce(sum, [](double a, double b) { return a + b; });
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <class T>
__global__ void scale_kernel(T* values, std::int64_t size, T factor) {
  const std::int64_t i = index_of_thread();
  if (i < size) values[i] *= factor;
}

}  // namespace

void adam(const AdamArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.step >= 1);
  if (args.parameters.cols == 0) return;
  dispatch_compute(args.parameters.dtype, [&](auto zero) {
    using T = decltype(zero);
    adam_kernel<T><<<blocks_for(args.parameters.cols), kBlock, 0, queue.raw()>>>(adam_of<T>(args));
    check_launch("adam_kernel");
  });
}

void sgd(const SgdArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.momentum == 0 || args.velocity.cols == args.parameters.cols);
  if (args.parameters.cols == 0) return;
  dispatch_compute(args.parameters.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Sgd<T> op{.w = args.parameters.row<T>(0),
                    .gradients = args.gradients.row<T>(0),
                    .velocity = args.momentum == 0 ? nullptr : args.velocity.row<T>(0),
                    .size = args.parameters.cols,
                    .rate = static_cast<T>(args.learning_rate),
                    .momentum = static_cast<T>(args.momentum),
                    .decay = static_cast<T>(args.weight_decay)};
    sgd_kernel<T><<<blocks_for(op.size), kBlock, 0, queue.raw()>>>(op);
    check_launch("sgd_kernel");
  });
}

double squared_norm(ConstMatrixView matrix, const Queue& queue) {
  GSPLIT_CHECK(matrix.rows <= 1 || matrix.stride == matrix.cols);
  const std::int64_t size = matrix.rows * matrix.cols;
  const std::int64_t blocks = (size + kChunk - 1) / kChunk;
  if (blocks == 0) return 0;
  Buffer<double> sums(queue.memory, static_cast<std::size_t>(blocks));
  dispatch_compute(matrix.dtype, [&](auto zero) {
    using T = decltype(zero);
    chunk_squares<T><<<static_cast<unsigned>(blocks), kBlock, 0, queue.raw()>>>(matrix.row<T>(0),
                                                                                size, sums.data());
    check_launch("chunk_squares");
  });
  double total = 0;
  for (double sum : queue.memory.read(sums.data(), sums.size(), queue.stream)) total += sum;
  return total;
}

void scale(MatrixView matrix, double factor, const Queue& queue) {
  GSPLIT_CHECK(matrix.rows <= 1 || matrix.stride == matrix.cols);
  const std::int64_t size = matrix.rows * matrix.cols;
  if (size == 0) return;
  dispatch_compute(matrix.dtype, [&](auto zero) {
    using T = decltype(zero);
    scale_kernel<T><<<blocks_for(size), kBlock, 0, queue.raw()>>>(matrix.row<T>(0), size,
                                                                  static_cast<T>(factor));
    check_launch("scale_kernel");
  });
}

}  // namespace gsplit::cuda
