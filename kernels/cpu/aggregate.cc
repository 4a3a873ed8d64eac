// Block aggregation, forward and backward. Both are the same loop: a destination row accumulates in
// registers, one tile of columns at a time, over the rows that its list names, and is written once.
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 64;  // destination rows per chunk
constexpr std::int64_t kTile = 32;   // columns kept in registers

/// out[c] = sum over k of weight(k) * rows(k)[c] for c in [0, width), width <= kTile.
template <class T, class Row, class Weight>
void reduce_tile(std::size_t count, Row row, Weight weight, std::int64_t width, T* out) {
  T sum[kTile] = {};
  if (width == kTile) {
    for (std::size_t k = 0; k < count; ++k) {
      const T* const from = row(k);
      const T w = weight(k);
      for (std::int64_t c = 0; c < kTile; ++c) sum[c] += w * from[c];
    }
  } else {
    for (std::size_t k = 0; k < count; ++k) {
      const T* const from = row(k);
      const T w = weight(k);
      for (std::int64_t c = 0; c < width; ++c) sum[c] += w * from[c];
    }
  }
  for (std::int64_t c = 0; c < width; ++c) out[c] = sum[c];
}

/// destination[i] = scale(i) * sum over k in row i of weight(columns[k]) * source[columns[k]].
template <class T, class Weight, class Scale>
void reduce_rows(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                 const ConstMatrixView& source, const MatrixView& destination, Weight weight,
                 Scale scale, const Team& team) {
  for_ranges(team, destination.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const auto list = columns.subspan(indptr[i], indptr[i + 1] - indptr[i]);
      T* const out = destination.row<T>(static_cast<std::int64_t>(i));
      for (std::int64_t tile = 0; tile < destination.cols; tile += kTile) {
        const std::int64_t width = std::min(kTile, destination.cols - tile);
        reduce_tile<T>(
            list.size(), [&](std::size_t k) { return source.row<T>(list[k]) + tile; },
            [&](std::size_t k) { return weight(list[k]); }, width, out + tile);
        const T factor = scale(i);
        if (factor != T{1}) {
          for (std::int64_t c = 0; c < width; ++c) out[tile + c] *= factor;
        }
      }
    }
  });
}

/// 1 / length of row i for a mean, 1 for a sum or an empty row.
template <class T>
T row_scale(std::span<const RowIndex> indptr, std::size_t i, Reduce reduce) {
  const RowIndex length = indptr[i + 1] - indptr[i];
  return reduce == Reduce::kMean && length > 1 ? T{1} / static_cast<T>(length) : T{1};
}

}  // namespace

void aggregate(const AggregateArgs& args, const Team& team) {
  GSPLIT_CHECK(args.destination.rows + 1 == static_cast<std::int64_t>(args.indptr.size()));
  GSPLIT_CHECK(args.destination.cols == args.source.cols);
  GSPLIT_CHECK(args.destination.dtype == args.source.dtype);
  dispatch_compute(args.source.dtype, [&](auto zero) {
    using T = decltype(zero);
    reduce_rows<T>(
        args.indptr, args.columns, args.source, args.destination, [](RowIndex) { return T{1}; },
        [&](std::size_t i) { return row_scale<T>(args.indptr, i, args.reduce); }, team);
  });
}

void aggregate_backward(const AggregateBackwardArgs& args, const Team& team) {
  GSPLIT_CHECK(args.source_gradient.rows + 1 ==
               static_cast<std::int64_t>(args.inverse_indptr.size()));
  GSPLIT_CHECK(args.source_gradient.cols == args.destination_gradient.cols);
  GSPLIT_CHECK(args.source_gradient.dtype == args.destination_gradient.dtype);
  dispatch_compute(args.source_gradient.dtype, [&](auto zero) {
    using T = decltype(zero);
    reduce_rows<T>(
        args.inverse_indptr, args.inverse_destinations, args.destination_gradient,
        args.source_gradient, [&](RowIndex i) { return row_scale<T>(args.indptr, i, args.reduce); },
        [](std::size_t) { return T{1}; }, team);
  });
}

}  // namespace gsplit::cpu
