#include <cmath>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 128;   // rows per chunk
constexpr std::int64_t kChunk = 1024;  // rows per partial sum

template <class T>
void normalize(const LayerNormArgs& args, std::int64_t i) {
  const std::int64_t cols = args.values.cols;
  T* const row = args.values.row<T>(i);
  T* const normalized = args.normalized.row<T>(i);
  const T* const bias = args.bias.row<T>(0);
  const T* const weight = args.weight.row<T>(0);
  const T* const shift = args.shift.row<T>(0);
  T sum{0}, squares{0};
  for (std::int64_t c = 0; c < cols; ++c) sum += row[c] += bias[c];
  const T mean = sum / static_cast<T>(cols);
  for (std::int64_t c = 0; c < cols; ++c) squares += (row[c] - mean) * (row[c] - mean);
  const T inverse = T{1} / std::sqrt(squares / static_cast<T>(cols) + static_cast<T>(args.epsilon));
  *args.inverse_sigma.row<T>(i) = inverse;
  for (std::int64_t c = 0; c < cols; ++c) {
    normalized[c] = (row[c] - mean) * inverse;
    row[c] = normalized[c] * weight[c] + shift[c];
  }
}

/// Adds row i to the sums of the weight's and the shift's gradients, then turns its gradient into
/// that of x.
template <class T>
void backward_row(const LayerNormBackwardArgs& args, std::int64_t i, T* weight_sum, T* shift_sum) {
  const std::int64_t cols = args.gradient.cols;
  T* const gradient = args.gradient.row<T>(i);
  const T* const normalized = args.normalized.row<T>(i);
  const T* const weight = args.weight.row<T>(0);
  T mean{0}, projection{0};
  for (std::int64_t c = 0; c < cols; ++c) {
    weight_sum[c] += gradient[c] * normalized[c];
    shift_sum[c] += gradient[c];
    gradient[c] *= weight[c];
    mean += gradient[c];
    projection += gradient[c] * normalized[c];
  }
  mean /= static_cast<T>(cols);
  projection /= static_cast<T>(cols);
  const T inverse = *args.inverse_sigma.row<T>(i);
  for (std::int64_t c = 0; c < cols; ++c) {
    gradient[c] = inverse * (gradient[c] - mean - normalized[c] * projection);
  }
}

template <class T>
void backward(const LayerNormBackwardArgs& args, Memory& memory, const Team& team) {
  const std::int64_t cols = args.gradient.cols;
  const std::int64_t chunks = num_chunks(args.gradient.rows, kChunk);
  Buffer<T> partial(memory, static_cast<std::size_t>(2 * chunks * cols));
  for_chunks(team, args.gradient.rows, kChunk,
             [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
               T* const sums = partial.data() + 2 * index * cols;
               std::fill_n(sums, 2 * cols, T{0});
               for (std::int64_t i = begin; i < end; ++i) {
                 backward_row(args, i, sums, sums + cols);
               }
             });
  T* const weight = args.weight_gradient.row<T>(0);
  T* const shift = args.shift_gradient.row<T>(0);
  std::fill_n(weight, cols, T{0});
  std::fill_n(shift, cols, T{0});
  for (std::int64_t index = 0; index < chunks; ++index) {
    const T* const sums = partial.data() + 2 * index * cols;
    for (std::int64_t c = 0; c < cols; ++c) {
      weight[c] += sums[c];
      shift[c] += sums[cols + c];
    }
  }
}

}  // namespace

void layer_norm(const LayerNormArgs& args, const Team& team) {
  dispatch_compute(args.values.dtype, [&](auto type) {
    for_ranges(team, args.values.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) normalize<decltype(type)>(args, i);
    });
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& args, Memory& memory, const Team& team) {
  dispatch_compute(args.gradient.dtype,
                   [&](auto type) { backward<decltype(type)>(args, memory, team); });
}

}  // namespace gsplit::cpu
