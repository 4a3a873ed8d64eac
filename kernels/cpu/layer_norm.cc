#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/work_row.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 128;   // rows per chunk
constexpr std::int64_t kChunk = 1024;  // rows per partial sum

/// What the rows of a chunk are read and written by.
template <class S>
struct WorkRows {
  WorkRow<S> values;
  WorkRow<S> normalized;
  explicit WorkRows(std::int64_t cols) : values(cols), normalized(cols) {}
};

template <class S>
GSPLIT_INLINE_BODY inline void normalize(const LayerNormArgs& args, std::int64_t i,
                                         WorkRows<S>& work) {
  using T = compute_type<S>;
  const std::int64_t cols = args.values.cols;
  T* const row = work.values.load(args.values.row<S>(i));
  T* const normalized = work.normalized.room(args.normalized.row<S>(i));
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
  work.values.store(args.values.row<S>(i));
  work.normalized.store(args.normalized.row<S>(i));
}

/// Adds row i to the sums of the weight's and the shift's gradients, then turns its gradient into
/// that of x.
template <class S, class T>
GSPLIT_INLINE_BODY inline void backward_row(const LayerNormBackwardArgs& args, std::int64_t i,
                                            WorkRow<S>& work, T* weight_sum, T* shift_sum) {
  const std::int64_t cols = args.gradient.cols;
  T* const gradient = work.load(args.gradient.row<S>(i));
  const S* const normalized = args.normalized.row<S>(i);
  const T* const weight = args.weight.row<T>(0);
  T mean{0}, projection{0};
  for (std::int64_t c = 0; c < cols; ++c) {
    const T n = widened(normalized[c]);
    weight_sum[c] += gradient[c] * n;
    shift_sum[c] += gradient[c];
    gradient[c] *= weight[c];
    mean += gradient[c];
    projection += gradient[c] * n;
  }
  mean /= static_cast<T>(cols);
  projection /= static_cast<T>(cols);
  const T inverse = *args.inverse_sigma.row<T>(i);
  for (std::int64_t c = 0; c < cols; ++c) {
    gradient[c] = inverse * (gradient[c] - mean - widened(normalized[c]) * projection);
  }
  work.store(args.gradient.row<S>(i));
}

template <class S>
void backward(const LayerNormBackwardArgs& args, Memory& memory, const Team& team) {
  using T = compute_type<S>;
  const std::int64_t cols = args.gradient.cols;
  const std::int64_t chunks = num_chunks(args.gradient.rows, kChunk);
  Buffer<T> partial(memory, static_cast<std::size_t>(2 * chunks * cols));
  for_chunks(team, args.gradient.rows, kChunk,
             [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
               T* const sums = partial.data() + 2 * index * cols;
               std::fill_n(sums, 2 * cols, T{0});
               WorkRow<S> work(cols);
               with_best_instructions([&]() GSPLIT_INLINE_BODY {
                 for (std::int64_t i = begin; i < end; ++i) {
                   backward_row(args, i, work, sums, sums + cols);
                 }
               });
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
  GSPLIT_CHECK(args.normalized.dtype == args.values.dtype);
  GSPLIT_CHECK(args.weight.dtype == compute_dtype(args.values.dtype));
  dispatch_rows(args.values.dtype, [&](auto type) {
    for_ranges(team, args.values.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      WorkRows<decltype(type)> work(args.values.cols);
      with_best_instructions([&]() GSPLIT_INLINE_BODY {
        for (std::int64_t i = begin; i < end; ++i) normalize(args, i, work);
      });
    });
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& args, Memory& memory, const Team& team) {
  GSPLIT_CHECK(args.normalized.dtype == args.gradient.dtype);
  dispatch_rows(args.gradient.dtype,
                [&](auto type) { backward<decltype(type)>(args, memory, team); });
}

}  // namespace gsplit::cpu
