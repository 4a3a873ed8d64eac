#include <algorithm>

#include "kernels/cpu/drop.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/work_row.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 64;  // rows per chunk

template <class T>
GSPLIT_INLINE_BODY inline void add_bias(T* row, const T* bias, std::int64_t cols) {
  for (std::int64_t c = 0; c < cols; ++c) row[c] += bias[c];
}

/// NaN stays, so that a bad loss shows and is not hidden by zeros.
template <class T>
GSPLIT_INLINE_BODY inline void relu(T* row, std::int64_t cols) {
  for (std::int64_t c = 0; c < cols; ++c) row[c] = row[c] < T{0} ? T{0} : row[c];
}

template <class T>
GSPLIT_INLINE_BODY inline void elu(T* row, std::int64_t cols) {
  for (std::int64_t c = 0; c < cols; ++c) {
    const T x = row[c];
    const T below = expm1_not_positive(x > T{0} ? T{0} : x);
    row[c] = x > T{0} ? x : below;
  }
}

template <class S>
void forward(const BiasActivationDropoutArgs& args, const Team& team) {
  using T = compute_type<S>;
  const MatrixView& values = args.values;
  for_ranges(team, values.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    WorkRow<S> work(values.cols);
    with_best_instructions([&]() GSPLIT_INLINE_BODY {
      for (std::int64_t i = begin; i < end; ++i) {
        T* const row = work.load(values.row<S>(i));
        if (args.bias.rows > 0) add_bias(row, args.bias.row<T>(0), values.cols);
        if (args.activation == Activation::kRelu) relu(row, values.cols);
        if (args.activation == Activation::kElu) elu(row, values.cols);
        if (args.dropout.probability > 0) {
          drop(row, values.cols, args.dropout, args.nodes[static_cast<std::size_t>(i)]);
        }
        work.store(values.row<S>(i));
      }
    });
  });
}

// With ReLU the output alone tells: it is not 0 exactly where the input was positive and kept.
template <class S, class T>
GSPLIT_INLINE_BODY inline void relu_backward(const ActivationDropoutBackwardArgs& args,
                                             std::int64_t i, T* gradient) {
  const T scale = args.dropout.probability > 0 ? static_cast<T>(args.dropout.scale()) : T{1};
  const S* const output = args.output.row<S>(i);
  for (std::int64_t c = 0; c < args.gradient.cols; ++c) {
    const T kept = gradient[c] * scale;
    gradient[c] = widened(output[c]) != T{0} ? kept : T{0};
  }
}

// The derivative of ELU is 1 or, where the output y is negative, y + 1; what was dropped is 0 by
// drop().
template <class S, class T>
GSPLIT_INLINE_BODY inline void elu_backward(const ActivationDropoutBackwardArgs& args,
                                            std::int64_t i, T* gradient) {
  const T unscale = args.dropout.probability > 0 ? static_cast<T>(1 / args.dropout.scale()) : T{1};
  const S* const output = args.output.row<S>(i);
  for (std::int64_t c = 0; c < args.gradient.cols; ++c) {
    const T y = widened(output[c]);
    gradient[c] *= y < T{0} ? y * unscale + T{1} : T{1};
  }
}

template <class S>
void backward(const ActivationDropoutBackwardArgs& args, const Team& team) {
  const MatrixView& gradients = args.gradient;
  for_ranges(team, gradients.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    WorkRow<S> work(gradients.cols);
    with_best_instructions([&]() GSPLIT_INLINE_BODY {
      for (std::int64_t i = begin; i < end; ++i) {
        compute_type<S>* const row = work.load(gradients.row<S>(i));
        if (args.activation == Activation::kElu) elu_backward<S>(args, i, row);
        if (args.activation == Activation::kRelu) {
          relu_backward<S>(args, i, row);
        } else if (args.dropout.probability > 0) {
          drop(row, gradients.cols, args.dropout, args.nodes[static_cast<std::size_t>(i)]);
        }
        work.store(gradients.row<S>(i));
      }
    });
  });
}

}  // namespace

void bias_activation_dropout(const BiasActivationDropoutArgs& args, const Team& team) {
  GSPLIT_CHECK(args.bias.rows == 0 || args.bias.dtype == compute_dtype(args.values.dtype));
  dispatch_rows(args.values.dtype, [&](auto type) { forward<decltype(type)>(args, team); });
}

void activation_dropout_backward(const ActivationDropoutBackwardArgs& args, const Team& team) {
  GSPLIT_CHECK(args.output.dtype == args.gradient.dtype);
  dispatch_rows(args.gradient.dtype, [&](auto type) { backward<decltype(type)>(args, team); });
}

}  // namespace gsplit::cpu
