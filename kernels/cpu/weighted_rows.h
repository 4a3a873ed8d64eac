// Sums of weighted rows and dot products with rows, the inner loops of aggregation and attention:
// an output tile stays in registers while the rows that it sums go by, and is written once. For use
// inside with_best_instructions. What a column sums to depends on neither its tile nor the width.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/base/dtype.h"
#include "kernels/cpu/instruction_set.h"

namespace gsplit::cpu {

/// 64 bytes of T, at any address.
template <class T>
struct Vector {
  static constexpr std::int64_t kLanes = 64 / sizeof(T);
  typedef T Type __attribute__((vector_size(64), aligned(alignof(T)), may_alias));
};

template <class T>
GSPLIT_INLINE_BODY inline typename Vector<T>::Type* as_vector(T* at) {
  return reinterpret_cast<typename Vector<T>::Type*>(at);
}
template <class T>
GSPLIT_INLINE_BODY inline const typename Vector<T>::Type* as_vector(const T* at) {
  return reinterpret_cast<const typename Vector<T>::Type*>(at);
}

/// As many computed numbers as a vector holds, from rows of S.
template <class S>
GSPLIT_INLINE_BODY inline void load_vector(const S* at,
                                           typename Vector<compute_type<S>>::Type& vector) {
  if constexpr (std::is_same_v<S, BFloat16>) {
    typedef std::uint16_t Half __attribute__((vector_size(32), aligned(2), may_alias));
    typedef std::uint32_t Whole __attribute__((vector_size(64)));
    const Whole bits = __builtin_convertvector(*reinterpret_cast<const Half*>(at), Whole) << 16;
    vector = reinterpret_cast<typename Vector<float>::Type>(bits);
  } else {
    vector = *as_vector(at);
  }
}

/// `count` rows, each with a weight for each of `heads` sums. Sum h reads row k at rows[k] + h *
/// head_step and weighs it weights[k * heads + h].
template <class S>
struct WeightedRows {
  const S* const* rows;
  const compute_type<S>* weights;
  std::size_t count;
  std::int64_t heads;
  std::int64_t head_step;
};

/// Sums [head, head + Heads), columns [column, column + Vectors * lanes), into out[h * width + c].
template <int Heads, int Vectors, bool Shared, class S, class T>
GSPLIT_INLINE_BODY inline void sum_tile(const WeightedRows<S>& in, std::int64_t head,
                                        std::int64_t column, std::int64_t width, T* out) {
  constexpr std::int64_t kLanes = Vector<T>::kLanes;
  typename Vector<T>::Type sum[Heads][Vectors] = {};
  const std::int64_t start = Shared ? column : head * in.head_step + column;
  for (std::size_t k = 0; k < in.count; ++k) {
    const S* const from = in.rows[k] + start;
    const T* const weights = in.weights + static_cast<std::int64_t>(k) * in.heads + head;
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        typename Vector<T>::Type values;
        load_vector(from + (Shared ? 0 : h * in.head_step) + v * kLanes, values);
        sum[h][v] += weights[h] * values;
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      *as_vector(out + (head + h) * width + column + v * kLanes) = sum[h][v];
    }
  }
}

/// The same for rows narrower than a vector.
template <class S, class T>
GSPLIT_INLINE_BODY inline void sum_narrow(const WeightedRows<S>& in, std::int64_t head,
                                          std::int64_t width, T* out) {
  for (std::int64_t c = 0; c < width; ++c) {
    T sum{0};
    for (std::size_t k = 0; k < in.count; ++k) {
      sum += in.weights[static_cast<std::int64_t>(k) * in.heads + head] *
             widened(in.rows[k][head * in.head_step + c]);
    }
    out[head * width + c] = sum;
  }
}

/// Columns [column, width) of sums [head, head + Heads) by tiles of at most `Vectors`. The last
/// tile overlaps the one before where the width is no multiple of a vector.
template <int Heads, int Vectors, bool Shared, class S, class T>
GSPLIT_INLINE_BODY inline void sum_columns(const WeightedRows<S>& in, std::int64_t head,
                                           std::int64_t column, std::int64_t width, T* out) {
  constexpr std::int64_t kLanes = Vector<T>::kLanes;
  for (; column + Vectors * kLanes <= width; column += Vectors * kLanes) {
    sum_tile<Heads, Vectors, Shared>(in, head, column, width, out);
  }
  if constexpr (Vectors > 1) {
    sum_columns<Heads, Vectors / 2, Shared>(in, head, column, width, out);
  } else if (column < width) {
    sum_tile<Heads, 1, Shared>(in, head, width - kLanes, width, out);
  }
}

/// out[h * width + c] = sum over k of weights[k * heads + h] * rows[k][h * head_step + c], for c
/// below width.
template <class S, class T>
GSPLIT_INLINE_BODY inline void sum_rows_of(const WeightedRows<S>& in, std::int64_t width, T* out) {
  if (width < Vector<T>::kLanes) {
    for (std::int64_t h = 0; h < in.heads; ++h) sum_narrow(in, h, width, out);
    return;
  }
  std::int64_t head = 0;
  for (; head + 4 <= in.heads; head += 4) {
    if (in.head_step == 0) {
      sum_columns<4, 2, true>(in, head, 0, width, out);
    } else {
      sum_columns<4, 2, false>(in, head, 0, width, out);
    }
  }
  for (; head < in.heads; ++head) sum_columns<1, 8, false>(in, head, 0, width, out);
}

/// sums[h] = the lanes of vectors[h] added up by halves: lane c and lane c + 8, then 4, 2, 1.
template <int Heads, class T>
GSPLIT_INLINE_BODY inline void add_lanes(const typename Vector<T>::Type* vectors, T* sums) {
  constexpr int kLanes = static_cast<int>(Vector<T>::kLanes);
  if constexpr (Heads == 4 && kLanes == 16) {
    // Halves of two vectors, then quarters of four, side by side in one.
    typename Vector<T>::Type halves[2], quarters, pairs;
#pragma GCC unroll 2
    for (int p = 0; p < 2; ++p) {
      halves[p] = __builtin_shufflevector(vectors[2 * p], vectors[2 * p + 1], 0, 1, 2, 3, 4, 5, 6,
                                          7, 16, 17, 18, 19, 20, 21, 22, 23) +
                  __builtin_shufflevector(vectors[2 * p], vectors[2 * p + 1], 8, 9, 10, 11, 12, 13,
                                          14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
    quarters = __builtin_shufflevector(halves[0], halves[1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18,
                                       19, 24, 25, 26, 27) +
               __builtin_shufflevector(halves[0], halves[1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22,
                                       23, 28, 29, 30, 31);
    pairs = quarters + __builtin_shufflevector(quarters, quarters, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11,
                                               8, 9, 14, 15, 12, 13);
    for (int h = 0; h < Heads; ++h) sums[h] = pairs[4 * h] + pairs[4 * h + 1];
  } else {
    for (int h = 0; h < Heads; ++h) {
      T lanes[kLanes];
      *as_vector(lanes) = vectors[h];
#pragma GCC unroll 4
      for (int half = kLanes / 2; half > 0; half /= 2) {
        for (int c = 0; c < half; ++c) lanes[c] += lanes[c + half];
      }
      sums[h] = lanes[0];
    }
  }
}

/// dots[h] = sum over c of a[h * width + c] * b[h * b_step + c], for h below Heads. `Shared`:
/// b_step is 0.
template <int Heads, bool Shared, class S, class T>
GSPLIT_INLINE_BODY inline void dot_tile(const S* a, const S* b, std::int64_t b_step,
                                        std::int64_t width, T* dots) {
  using V = typename Vector<T>::Type;
  constexpr std::int64_t kLanes = Vector<T>::kLanes;
  V sum[Heads] = {};
  const auto add = [&](std::int64_t c, std::int64_t h, const V& left) GSPLIT_INLINE_BODY {
    V right;
    load_vector(b + (Shared ? 0 : h * b_step) + c, right);
    sum[h] += left * right;
  };
  std::int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h) {
      V left;
      load_vector(a + h * width + c, left);
      add(c, h, left);
    }
  }
  T tail[Heads] = {};
  for (; c < width; ++c) {
#pragma GCC unroll 4
    for (int h = 0; h < Heads; ++h) {
      tail[h] += widened(a[h * width + c]) * widened(b[(Shared ? 0 : h * b_step) + c]);
    }
  }
  add_lanes<Heads, T>(sum, dots);
#pragma GCC unroll 4
  for (int h = 0; h < Heads; ++h) dots[h] += tail[h];
}

/// The same for h below `heads`.
template <class S, class T>
GSPLIT_INLINE_BODY inline void dots_of(const S* a, const S* b, std::int64_t b_step,
                                       std::int64_t width, std::int64_t heads, T* dots) {
  std::int64_t h = 0;
  for (; h + 4 <= heads; h += 4) {
    if (b_step == 0) {
      dot_tile<4, true>(a + h * width, b, 0, width, dots + h);
    } else {
      dot_tile<4, false>(a + h * width, b + h * b_step, b_step, width, dots + h);
    }
  }
  for (; h < heads; ++h) dot_tile<1, true>(a + h * width, b + h * b_step, 0, width, dots + h);
}

/// Asks for the lines of a row that is read soon. Beyond a few lines the processor follows a row by
/// itself.
template <class T>
GSPLIT_INLINE_BODY inline void prefetch_row(const T* row, std::int64_t cols) {
  constexpr std::int64_t kLineBytes = 64, kMostLines = 8;
  const auto* const bytes = reinterpret_cast<const char*>(row);
  const auto size = std::min(cols * static_cast<std::int64_t>(sizeof(T)), kMostLines * kLineBytes);
  for (std::int64_t at = 0; at < size; at += kLineBytes) __builtin_prefetch(bytes + at);
}

}  // namespace gsplit::cpu
