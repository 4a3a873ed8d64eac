// Ops between a row of several heads and one value or one row per head.
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 256;   // rows per chunk
constexpr std::int64_t kChunk = 1024;  // rows per partial sum

template <class S>
void dots(const HeadDotsArgs& args, const Team& team) {
  using T = compute_type<S>;
  const std::int64_t heads = args.vector.rows, width = args.vector.cols;
  for_ranges(team, args.values.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const S* const value = args.values.row<S>(i) + h * width;
        const T* const vector = args.vector.row<T>(h);
        T sum{0};
        for (std::int64_t c = 0; c < width; ++c) sum += widened(value[c]) * vector[c];
        args.logits.row<T>(i)[h] = sum;
      }
    }
  });
}

/// Row i's part of the vectors' gradient into `sum`, and its own gradient.
template <class S, class T>
GSPLIT_INLINE_BODY inline void dots_backward_row(const HeadDotsBackwardArgs& args, std::int64_t i,
                                                 T* sum) {
  const std::int64_t heads = args.vector.rows, width = args.vector.cols;
  for (std::int64_t h = 0; h < heads; ++h) {
    const S* const value = args.values.row<S>(i) + h * width;
    S* const gradient = args.values_gradient.row<S>(i) + h * width;
    const T g = args.logits_gradient.row<T>(i)[h];
    const T* const vector = args.vector.row<T>(h);
    for (std::int64_t c = 0; c < width; ++c) {
      sum[h * width + c] += g * widened(value[c]);
      gradient[c] = narrowed<S>(widened(gradient[c]) + g * vector[c]);
    }
  }
}

template <class S>
void dots_backward(const HeadDotsBackwardArgs& args, Memory& memory, const Team& team) {
  using T = compute_type<S>;
  const std::int64_t heads = args.vector.rows, width = args.vector.cols, cols = heads * width;
  const std::int64_t chunks = num_chunks(args.values.rows, kChunk);
  Buffer<T> partial(memory, static_cast<std::size_t>(chunks * cols));
  for_chunks(team, args.values.rows, kChunk,
             [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
               T* const sum = partial.data() + index * cols;
               std::fill_n(sum, cols, T{0});
               with_best_instructions([&]() GSPLIT_INLINE_BODY {
                 for (std::int64_t i = begin; i < end; ++i) dots_backward_row<S>(args, i, sum);
               });
             });
  for (std::int64_t index = 0; index < chunks; ++index) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t c = 0; c < width; ++c) {
        args.vector_gradient.row<T>(h)[c] += partial.data()[index * cols + h * width + c];
      }
    }
  }
}

}  // namespace

void head_dots(const HeadDotsArgs& args, const Team& team) {
  GSPLIT_CHECK(args.values.cols == args.vector.rows * args.vector.cols);
  GSPLIT_CHECK(args.vector.dtype == compute_dtype(args.values.dtype));
  dispatch_rows(args.values.dtype, [&](auto type) { dots<decltype(type)>(args, team); });
}

void head_dots_backward(const HeadDotsBackwardArgs& args, Memory& memory, const Team& team) {
  GSPLIT_CHECK(args.values_gradient.dtype == args.values.dtype);
  dispatch_rows(args.values.dtype,
                [&](auto type) { dots_backward<decltype(type)>(args, memory, team); });
}

void mean_heads(const MeanHeadsArgs& args, const Team& team) {
  const std::int64_t width = args.output.cols, heads = args.values.cols / width;
  GSPLIT_CHECK(args.output.dtype == args.values.dtype ||
               args.output.dtype == compute_dtype(args.values.dtype));
  dispatch_rows(args.values.dtype, [&](auto type) {
    dispatch_rows(args.output.dtype, [&](auto out_type) {
      using S = decltype(type);
      using Out = decltype(out_type);
      using T = compute_type<S>;
      for_ranges(team, args.output.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const S* const values = args.values.row<S>(i);
          for (std::int64_t c = 0; c < width; ++c) {
            T sum{0};
            for (std::int64_t h = 0; h < heads; ++h) sum += widened(values[h * width + c]);
            args.output.row<Out>(i)[c] = narrowed<Out>(sum / static_cast<T>(heads));
          }
        }
      });
    });
  });
}

void mean_heads_backward(const MeanHeadsBackwardArgs& args, const Team& team) {
  const std::int64_t width = args.output_gradient.cols, heads = args.values_gradient.cols / width;
  GSPLIT_CHECK(args.output_gradient.dtype == args.values_gradient.dtype);
  dispatch_rows(args.values_gradient.dtype, [&](auto type) {
    using S = decltype(type);
    using T = compute_type<S>;
    for_ranges(team, args.values_gradient.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t c = 0; c < heads * width; ++c) {
          args.values_gradient.row<S>(i)[c] = narrowed<S>(
              widened(args.output_gradient.row<S>(i)[c % width]) / static_cast<T>(heads));
        }
      }
    });
  });
}

}  // namespace gsplit::cpu
