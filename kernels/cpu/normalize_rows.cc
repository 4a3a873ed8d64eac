#include <limits>
#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 512;  // rows per chunk

template <class T>
void normalize(T* row, std::int64_t cols, T offset) {
  T sum{0};
  for (std::int64_t c = 0; c < cols; ++c) sum += row[c] -= offset;
  const T divisor = std::max(sum, T{1});
  for (std::int64_t c = 0; c < cols; ++c) row[c] /= divisor;
}

}  // namespace

void normalize_rows(const NormalizeRowsArgs& args, const Team& team) {
  dispatch_compute(args.matrix.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_ranges(team, args.matrix.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        normalize(args.matrix.row<T>(i), args.matrix.cols, static_cast<T>(args.offset));
      }
    });
  });
}

double smallest(ConstMatrixView matrix, const Team& team) {
  std::vector<double> partial(static_cast<std::size_t>(num_chunks(matrix.rows, kGrain)),
                              std::numeric_limits<double>::infinity());
  dispatch_storage(matrix.dtype, [&](auto zero) {
    for_chunks(team, matrix.rows, kGrain,
               [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
                 double& least = partial[static_cast<std::size_t>(index)];
                 for (std::int64_t i = begin; i < end; ++i) {
                   const auto* const row = matrix.row<decltype(zero)>(i);
                   for (std::int64_t c = 0; c < matrix.cols; ++c) {
                     least = std::min<double>(least, widened(row[c]));
                   }
                 }
               });
  });
  double least = std::numeric_limits<double>::infinity();
  for (double chunk : partial) least = std::min(least, chunk);
  return least;
}

}  // namespace gsplit::cpu
