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

/// Calls body(i, tile, width, out) for every row i and every tile of its columns; `out` is where
/// the tile goes.
template <class T, class F>
void for_rows(const MatrixView& matrix, const Team& team, F&& body) {
  for_ranges(team, matrix.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t tile = 0; tile < matrix.cols; tile += kTile) {
        const std::int64_t width = std::min(kTile, matrix.cols - tile);
        body(static_cast<std::size_t>(i), tile, width, matrix.row<T>(i) + tile);
      }
    }
  });
}

/// The weights of a block, in the type of its arithmetic.
template <class T>
class Weights {
 public:
  Weights(const AggregateOptions& options, std::span<const RowIndex> indptr)
      : options_(options), indptr_(indptr) {}
  /// Of the neighbours of destination i.
  T of_row(std::size_t i) const {
    double weight = options_.row_scale.empty() ? 1.0 : options_.row_scale[i];
    const RowIndex length = indptr_[i + 1] - indptr_[i];
    if (options_.reduce == Reduce::kMean && length > 1) weight /= length;
    return static_cast<T>(weight);
  }
  /// Of row i in its own destination.
  T of_self(std::size_t i) const {
    return i < options_.self_scale.size() ? static_cast<T>(options_.self_scale[i]) : T{0};
  }

 private:
  const AggregateOptions& options_;
  std::span<const RowIndex> indptr_;
};

/// to[c] += weight * from[c].
template <class T>
void add_scaled(T weight, const T* from, std::int64_t width, T* to) {
  if (weight == T{0}) return;
  for (std::int64_t c = 0; c < width; ++c) to[c] += weight * from[c];
}

}  // namespace

void aggregate(const AggregateArgs& args, const Team& team) {
  GSPLIT_CHECK(args.destination.rows + 1 == static_cast<std::int64_t>(args.indptr.size()));
  GSPLIT_CHECK(args.destination.cols == args.source.cols);
  GSPLIT_CHECK(args.destination.dtype == args.source.dtype);
  GSPLIT_CHECK(args.edge_weights.empty() || args.edge_weights.size() == args.columns.size());
  dispatch_compute(args.source.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Weights<T> weights(args.options, args.indptr);
    for_rows<T>(
        args.destination, team, [&](std::size_t i, std::int64_t tile, std::int64_t width, T* out) {
          const auto list =
              args.columns.subspan(args.indptr[i], args.indptr[i + 1] - args.indptr[i]);
          const auto row = [&](std::size_t k) { return args.source.row<T>(list[k]) + tile; };
          const auto reduce = [&](auto weight) {
            reduce_tile<T>(list.size(), row, weight, width, out);
          };
          const bool skip = args.options.skip_loops;
          if (!args.edge_weights.empty()) {
            const auto of_edges = args.edge_weights.subspan(args.indptr[i], list.size());
            reduce([&](std::size_t k) { return skip && list[k] == i ? T{0} : T{of_edges[k]}; });
          } else if (skip) {
            reduce([&](std::size_t k) { return T(list[k] != i); });
          } else {
            reduce([](std::size_t) { return T{1}; });
          }
          const T scale = weights.of_row(i);
          for (std::int64_t c = 0; c < width; ++c) out[c] *= scale;
          const T self = weights.of_self(i);
          if (self != T{0}) {
            add_scaled(self, args.source.row<T>(static_cast<std::int64_t>(i)) + tile, width, out);
          }
        });
  });
}

void aggregate_backward(const AggregateBackwardArgs& args, const Team& team) {
  GSPLIT_CHECK(args.source_gradient.rows + 1 ==
               static_cast<std::int64_t>(args.inverse_indptr.size()));
  GSPLIT_CHECK(args.source_gradient.cols == args.destination_gradient.cols);
  GSPLIT_CHECK(args.source_gradient.dtype == args.destination_gradient.dtype);
  GSPLIT_CHECK(args.edge_weights.empty() || args.edge_weights.size() == args.inverse_edges.size());
  dispatch_compute(args.source_gradient.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Weights<T> weights(args.options, args.indptr);
    const auto gradient_of_row = [&](std::size_t j, std::int64_t tile, std::int64_t width, T* out) {
      const std::size_t begin = args.inverse_indptr[j];
      const auto list =
          args.inverse_destinations.subspan(begin, args.inverse_indptr[j + 1] - begin);
      const auto row = [&](std::size_t k) {
        return args.destination_gradient.row<T>(list[k]) + tile;
      };
      const bool skip = args.options.skip_loops;
      const auto of_row = [&](std::size_t k) {
        return skip && list[k] == j ? T{0} : weights.of_row(list[k]);
      };
      if (args.edge_weights.empty()) {
        reduce_tile<T>(list.size(), row, of_row, width, out);
      } else {
        const auto edges = args.inverse_edges.subspan(begin, list.size());
        reduce_tile<T>(
            list.size(), row,
            [&](std::size_t k) { return of_row(k) * T{args.edge_weights[edges[k]]}; }, width, out);
      }
      const T self = weights.of_self(j);
      if (self != T{0}) {
        add_scaled(self, args.destination_gradient.row<T>(static_cast<std::int64_t>(j)) + tile,
                   width, out);
      }
    };
    for_rows<T>(args.source_gradient, team, gradient_of_row);
  });
}

}  // namespace gsplit::cpu
