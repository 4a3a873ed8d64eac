// Whole layers by chunks of rows that stay in the L2 cache between the ops: a layer's rows and
// gradients are several times as large as the L3 cache, and each pass over them in memory takes
// about a tenth of the time of its products.
#include "kernels/layer.h"

#include <algorithm>

#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/product.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kRows = 384;  // of a chunk: 384 KiB with 256 columns of fp32

BiasActivationDropoutArgs slice(const BiasActivationDropoutArgs& args, std::int64_t begin,
                                std::int64_t count) {
  BiasActivationDropoutArgs part = args;
  part.values = args.values.slice(begin, count);
  if (!args.nodes.empty()) part.nodes = args.nodes.subspan(static_cast<std::size_t>(begin));
  return part;
}

ActivationDropoutBackwardArgs slice(const ActivationDropoutBackwardArgs& args, std::int64_t begin,
                                    std::int64_t count) {
  ActivationDropoutBackwardArgs part = args;
  part.gradient = args.gradient.slice(begin, count);
  if (args.output.rows > 0) part.output = args.output.slice(begin, count);
  if (!args.nodes.empty()) part.nodes = args.nodes.subspan(static_cast<std::size_t>(begin));
  return part;
}

/// output = rows * weight^T, or += with `accumulate`, on the calling thread.
void multiply_rows(ConstMatrixView rows, ConstMatrixView weight, MatrixView output,
                   bool accumulate) {
  multiply_part({false, true, rows.rows, weight.rows, rows.cols, rows.data, rows.stride,
                 weight.data, weight.stride, output.data, output.stride, accumulate ? 1.0f : 0.0f},
                rows.dtype, output.dtype);
}

/// Of the gradients of a layer by one range of rows: the bias's, then the weights' one after the
/// other.
template <class T>
class Partials {
 public:
  Partials(const LayerGradientsArgs& args, std::int64_t count, Memory& memory)
      : args_(args), size_(args.bias_gradient.cols), sums_(memory, 0) {
    for (const WeightGradient& weight : args.weights) {
      size_ += weight.gradient.rows * weight.gradient.cols;
    }
    sums_ = Buffer<T>(memory, static_cast<std::size_t>(count * size_));
  }

  /// Adds what rows [begin, begin + count) give to partial `index`; the first ones of it overwrite.
  template <class S>
  void add(std::int64_t index, std::int64_t begin, std::int64_t count, bool first) {
    T* const bias = sums_.data() + index * size_;
    const ConstMatrixView gradient = args_.end.gradient.slice(begin, count);
    if (first) std::fill_n(bias, gradient.cols, T{0});
    add_rows_to<S>(gradient, bias);
    T* to = bias + gradient.cols;
    for (const WeightGradient& weight : args_.weights) {
      if (weight.gradient.rows == 0) continue;
      const ConstMatrixView input = weight.input.slice(begin, count);
      multiply_part({true, false, gradient.cols, input.cols, count, gradient.data, gradient.stride,
                     input.data, input.stride, to, input.cols, first ? 0.0f : 1.0f},
                    gradient.dtype, dtype_of<T>::value);
      to += gradient.cols * input.cols;
    }
  }

  /// Their sums in order to the gradients.
  void combine(std::int64_t count, const Team& team) const {
    combine_rows(args_.bias_gradient, 0, count, team);
    std::int64_t place = args_.bias_gradient.cols;
    for (const WeightGradient& weight : args_.weights) {
      combine_rows(weight.gradient, place, count, team);
      place += weight.gradient.rows * weight.gradient.cols;
    }
  }

 private:
  template <class S>
  static void add_rows_to(ConstMatrixView rows, T* sum) {
    with_best_instructions([&]() GSPLIT_INLINE_BODY {
      for (std::int64_t i = 0; i < rows.rows; ++i) {
        const S* const row = rows.row<S>(i);
        for (std::int64_t c = 0; c < rows.cols; ++c) sum[c] += widened(row[c]);
      }
    });
  }

  void combine_rows(MatrixView gradient, std::int64_t place, std::int64_t count,
                    const Team& team) const {
    for_ranges(team, gradient.rows, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        T* const row = gradient.row<T>(i);
        std::fill_n(row, gradient.cols, T{0});
        for (std::int64_t part = 0; part < count; ++part) {
          const T* const from = sums_.data() + part * size_ + place + i * gradient.cols;
          for (std::int64_t c = 0; c < gradient.cols; ++c) row[c] += from[c];
        }
      }
    });
  }

  const LayerGradientsArgs& args_;
  std::int64_t size_;
  Buffer<T> sums_;
};

}  // namespace

void aggregate_linear(const AggregateLinearArgs& args, const Team& team) {
  const Team alone{1};
  check_aggregate(args.sums);
  for_ranges(team, args.end.values.rows, kRows, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    const MatrixView output = args.end.values.slice(begin, count);
    aggregate_rows(args.sums, begin, end);
    multiply_rows(args.sums.destination.slice(begin, count), args.weight, output, args.accumulate);
    if (args.own.rows > 0)
      multiply_rows(args.own.slice(begin, count), args.own_weight, output, true);
    if (args.ends) bias_activation_dropout(slice(args.end, begin, count), alone);
  });
}

void layer_gradients(const LayerGradientsArgs& args, Memory& memory, const Team& team) {
  const std::int64_t rows = args.end.gradient.rows;
  const std::int64_t chunk = depth_chunk(rows), count = num_chunks(rows, chunk);
  const Team alone{1};
  dispatch_rows(args.end.gradient.dtype, [&](auto type) {
    using S = decltype(type);
    Partials<compute_type<S>> partials(args, count, memory);
    for_chunks(team, rows, chunk, [&](std::int64_t index, std::int64_t first, std::int64_t last) {
      for (std::int64_t begin = first; begin < last; begin += kRows) {
        const std::int64_t part = std::min(kRows, last - begin);
        if (args.end.changes()) activation_dropout_backward(slice(args.end, begin, part), alone);
        partials.template add<S>(index, begin, part, begin == first);
      }
    });
    partials.combine(count, team);
  });
}

}  // namespace gsplit::cpu
