// Ops between a row of several heads and one value or one row per head.
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 256;   // rows per chunk
constexpr std::int64_t kChunk = 1024;  // rows per partial sum

template <class T>
void dots(const HeadDotsArgs& args, const Team& team) {
  const std::int64_t heads = args.vector.rows, width = args.vector.cols;
  for_ranges(team, args.values.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const T* const value = args.values.row<T>(i) + h * width;
        const T* const vector = args.vector.row<T>(h);
        T sum{0};
        for (std::int64_t c = 0; c < width; ++c) sum += value[c] * vector[c];
        args.logits.row<T>(i)[h] = sum;
      }
    }
  });
}

template <class T>
void dots_backward(const HeadDotsBackwardArgs& args, Memory& memory, const Team& team) {
  const std::int64_t heads = args.vector.rows, width = args.vector.cols, cols = heads * width;
  const std::int64_t chunks = num_chunks(args.values.rows, kChunk);
  Buffer<T> partial(memory, static_cast<std::size_t>(chunks * cols));
  for_chunks(team, args.values.rows, kChunk,
             [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
               T* const sum = partial.data() + index * cols;
               std::fill_n(sum, cols, T{0});
               for (std::int64_t i = begin; i < end; ++i) {
                 const T* const value = args.values.row<T>(i);
                 T* const gradient = args.values_gradient.row<T>(i);
                 for (std::int64_t h = 0; h < heads; ++h) {
                   const T g = args.logits_gradient.row<T>(i)[h];
                   const T* const vector = args.vector.row<T>(h);
                   for (std::int64_t c = 0; c < width; ++c) {
                     sum[h * width + c] += g * value[h * width + c];
                     gradient[h * width + c] += g * vector[c];
                   }
                 }
               }
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
  dispatch_compute(args.values.dtype, [&](auto type) { dots<decltype(type)>(args, team); });
}

void head_dots_backward(const HeadDotsBackwardArgs& args, Memory& memory, const Team& team) {
  dispatch_compute(args.values.dtype,
                   [&](auto type) { dots_backward<decltype(type)>(args, memory, team); });
}

void mean_heads(const MeanHeadsArgs& args, const Team& team) {
  const std::int64_t width = args.output.cols, heads = args.values.cols / width;
  dispatch_compute(args.output.dtype, [&](auto type) {
    using T = decltype(type);
    for_ranges(team, args.output.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t c = 0; c < width; ++c) {
          T sum{0};
          for (std::int64_t h = 0; h < heads; ++h) sum += args.values.row<T>(i)[h * width + c];
          args.output.row<T>(i)[c] = sum / static_cast<T>(heads);
        }
      }
    });
  });
}

void mean_heads_backward(const MeanHeadsBackwardArgs& args, const Team& team) {
  const std::int64_t width = args.output_gradient.cols, heads = args.values_gradient.cols / width;
  dispatch_compute(args.values_gradient.dtype, [&](auto type) {
    using T = decltype(type);
    for_ranges(team, args.values_gradient.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t c = 0; c < heads * width; ++c) {
          args.values_gradient.row<T>(i)[c] =
              args.output_gradient.row<T>(i)[c % width] / static_cast<T>(heads);
        }
      }
    });
  });
}

}  // namespace gsplit::cpu
