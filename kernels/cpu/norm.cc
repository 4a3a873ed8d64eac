// What clipping by the global norm is made of: squared_norm and scale.
#include <numeric>
#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kChunk = 16384;  // elements per partial sum

template <class T>
double sum_of_squares(const T* values, std::int64_t begin, std::int64_t end) {
  double sum = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  return sum;
}

}  // namespace

double squared_norm(ConstMatrixView matrix, const Team& team) {
  GSPLIT_CHECK(matrix.rows <= 1 || matrix.stride == matrix.cols);
  const std::int64_t size = matrix.rows * matrix.cols;
  std::vector<double> partial(static_cast<std::size_t>(num_chunks(size, kChunk)));
  dispatch_compute(matrix.dtype, [&](auto zero) {
    const auto* const values = matrix.row<decltype(zero)>(0);
    for_chunks(team, size, kChunk, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
      partial[static_cast<std::size_t>(index)] = sum_of_squares(values, begin, end);
    });
  });
  return std::accumulate(partial.begin(), partial.end(), 0.0);
}

void scale(MatrixView matrix, double factor, const Team& team) {
  GSPLIT_CHECK(matrix.rows <= 1 || matrix.stride == matrix.cols);
  dispatch_compute(matrix.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const values = matrix.row<T>(0);
    for_ranges(team, matrix.rows * matrix.cols, kChunk, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) values[i] *= static_cast<T>(factor);
    });
  });
}

}  // namespace gsplit::cpu
