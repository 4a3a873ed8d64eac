// Copying one row by the threads of a RowLaunch (launch.cuh) that have it.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace gsplit::cuda {

/// The part of this thread; neighbours in a warp read and write packs that lie side by side.
template <int kPack, class From, class To>
__device__ void copy_row(const From* from, To* to, std::int64_t cols) {
  for (std::int64_t c = first_column<kPack>(); c < cols; c += column_step<kPack>()) {
    if constexpr (std::is_same_v<From, To>) {
      pack_at<kPack>(to + c) = pack_at<kPack>(from + c);
    } else {
      to[c] = narrow<To>(widen(from[c]));
    }
  }
}

/// The same bytes as words of four.
template <class View>
View as_words(const View& matrix) {
  const auto bytes = static_cast<std::int64_t>(size_of(matrix.dtype));
  return {matrix.data, DType::kF32, matrix.rows, matrix.cols * bytes / 4,
          matrix.stride * bytes / 4};
}

/// Whether rows of these matrices consist of words.
inline bool have_words(std::initializer_list<ConstMatrixView> matrices) {
  return std::all_of(matrices.begin(), matrices.end(), [](const ConstMatrixView& matrix) {
    return matrix.dtype != DType::kBF16 || has_packs(matrix, 2);
  });
}

}  // namespace gsplit::cuda
