// Block aggregation, forward and backward. Both are the same loop: a row of the result is a
// weighted sum of the rows that its list names.
#include <numeric>
#include <vector>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/weighted_rows.h"
#include "kernels/cpu/work_row.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 64;  // destination rows per chunk

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

/// Of the sum of a list, and of the row that has the result's number.
template <class T>
struct Scales {
  T sum;
  T own;
};

/// Leaves the rows of a list that are in `only`, and their weights. Returns how many they are.
template <class S, class T>
GSPLIT_INLINE_BODY inline std::size_t keep(RowRange only, std::span<const RowIndex> list,
                                           const S** rows, T* weights) {
  std::size_t kept = 0;
  for (std::size_t k = 0; k < list.size(); ++k) {
    if (list[k] < only.begin || list[k] >= only.end) continue;
    rows[kept] = rows[k];
    weights[kept++] = weights[k];
  }
  return kept;
}

/// Which of the rows count, and what their sum begins with.
struct Part {
  RowRange only = {};
  ConstMatrixView before = {};
};

/// Rows [begin, end): destination[i] = scales.sum * sum of the weighted rows of list_of(i) +
/// scales.own * source[i]; weigh(i, list, weights) writes a weight per row of the list and returns
/// the scales.
template <class S, class ListOf, class Weigh>
void sum_lists(ConstMatrixView source, MatrixView destination, std::int64_t begin, std::int64_t end,
               ListOf list_of, Weigh weigh, const Part& part = {}) {
  using T = compute_type<S>;
  const std::int64_t cols = destination.cols;
  std::vector<const S*> rows;
  std::vector<T> weights;
  WorkRow<S> work(cols);
  with_best_instructions([&]() GSPLIT_INLINE_BODY {
    for (std::int64_t i = begin; i < end; ++i) {
      if (i + 1 < end) {
        for (RowIndex r : list_of(i + 1)) prefetch_row(source.row<S>(r), cols);
      }
      const std::span<const RowIndex> list = list_of(i);
      rows.clear();
      for (RowIndex r : list) rows.push_back(source.row<S>(r));
      weights.resize(list.size());
      const Scales<T> scales = weigh(static_cast<std::size_t>(i), list, weights.data());
      T* const out = work.room(destination.row<S>(i));
      const std::size_t count =
          part.only.is_all() ? rows.size() : keep(part.only, list, rows.data(), weights.data());
      sum_rows_of<S>({rows.data(), weights.data(), count, 1, 0}, cols, out);
      if (part.before.rows > 0) {
        const T* const before = part.before.row<T>(i);
        for (std::int64_t c = 0; c < cols; ++c) out[c] += before[c];
      }
      for (std::int64_t c = 0; c < cols; ++c) out[c] *= scales.sum;
      if (scales.own != T{0}) {
        const S* const own = source.row<S>(i);
        for (std::int64_t c = 0; c < cols; ++c) out[c] += scales.own * widened(own[c]);
      }
      work.store(destination.row<S>(i));
    }
  });
}

/// Brings the rows together and sums them there: for tests, since the host's rows are in a matrix.
void aggregate_placed(const AggregateArgs& args, const Team& team) {
  const auto sources = static_cast<std::int64_t>(args.places.rows.size());
  const ConstMatrixView& like = args.source;
  std::vector<std::byte> data(static_cast<std::size_t>(sources * like.cols) * size_of(like.dtype));
  const MatrixView rows{data.data(), like.dtype, sources, like.cols, like.cols};
  std::vector<RowIndex> all(args.places.rows.size());
  std::iota(all.begin(), all.end(), RowIndex{0});
  gather_placed_rows({args.places.rows, all, rows}, team);
  const auto scaled = static_cast<std::int64_t>(args.places.factors.size());
  scale_rows({rows.slice(0, scaled), args.places.factors}, team);
  AggregateArgs in_matrix = args;
  in_matrix.source = rows;
  in_matrix.places = {};
  aggregate(in_matrix, team);
}

}  // namespace

void check_aggregate(const AggregateArgs& args) {
  GSPLIT_CHECK(args.places.empty());
  GSPLIT_CHECK(args.destination.rows + 1 == static_cast<std::int64_t>(args.indptr.size()));
  GSPLIT_CHECK(args.destination.cols == args.source.cols);
  GSPLIT_CHECK(args.destination.dtype == args.source.dtype);
  GSPLIT_CHECK(args.edge_weights.empty() || args.edge_weights.size() == args.columns.size());
  GSPLIT_CHECK(args.before.rows == 0 || args.before.rows == args.destination.rows);
  // A sum that is rounded to bf16 between its parts would not be the sum.
  GSPLIT_CHECK((args.only.is_all() && args.before.rows == 0) || args.source.dtype != DType::kBF16);
}

void aggregate(const AggregateArgs& args, const Team& team) {
  if (!args.places.empty()) return aggregate_placed(args, team);
  check_aggregate(args);
  for_ranges(team, args.destination.rows, kGrain,
             [&](std::int64_t begin, std::int64_t end) { aggregate_rows(args, begin, end); });
}

void aggregate_rows(const AggregateArgs& args, std::int64_t begin, std::int64_t end) {
  dispatch_rows(args.source.dtype, [&](auto type) {
    using S = decltype(type);
    using T = compute_type<S>;
    const Weights<T> of_block(args.options, args.indptr);
    const auto list_of = [&](std::int64_t i) GSPLIT_INLINE_BODY {
      const RowIndex begin = args.indptr[static_cast<std::size_t>(i)];
      return args.columns.subspan(begin, args.indptr[static_cast<std::size_t>(i) + 1] - begin);
    };
    const auto weigh = [&](std::size_t i, std::span<const RowIndex> list,
                           T* weights) GSPLIT_INLINE_BODY {
      for (std::size_t k = 0; k < list.size(); ++k) {
        const T weight =
            args.edge_weights.empty() ? T{1} : T{args.edge_weights[args.indptr[i] + k]};
        weights[k] = args.options.skip_loops && list[k] == i ? T{0} : weight;
      }
      return Scales<T>{of_block.of_row(i), of_block.of_self(i)};
    };
    sum_lists<S>(args.source, args.destination, begin, end, list_of, weigh,
                 {args.only, args.before});
  });
}

void aggregate_backward(const AggregateBackwardArgs& args, const Team& team) {
  GSPLIT_CHECK(args.source_gradient.rows + 1 ==
               static_cast<std::int64_t>(args.inverse_indptr.size()));
  GSPLIT_CHECK(args.source_gradient.cols == args.destination_gradient.cols);
  GSPLIT_CHECK(args.source_gradient.dtype == args.destination_gradient.dtype);
  GSPLIT_CHECK(args.edge_weights.empty() || args.edge_weights.size() == args.inverse_edges.size());
  dispatch_rows(args.source_gradient.dtype, [&](auto type) {
    using S = decltype(type);
    using T = compute_type<S>;
    const Weights<T> of_block(args.options, args.indptr);
    const auto list_of = [&](std::int64_t j) GSPLIT_INLINE_BODY {
      const RowIndex begin = args.inverse_indptr[static_cast<std::size_t>(j)];
      return args.inverse_destinations.subspan(
          begin, args.inverse_indptr[static_cast<std::size_t>(j) + 1] - begin);
    };
    const auto weigh = [&](std::size_t j, std::span<const RowIndex> list,
                           T* weights) GSPLIT_INLINE_BODY {
      for (std::size_t k = 0; k < list.size(); ++k) {
        const bool left_out = args.options.skip_loops && list[k] == j;
        weights[k] = left_out ? T{0} : of_block.of_row(list[k]);
        if (args.edge_weights.empty()) continue;
        weights[k] *= T{args.edge_weights[args.inverse_edges[args.inverse_indptr[j] + k]]};
      }
      return Scales<T>{T{1}, of_block.of_self(j)};
    };
    for_ranges(team, args.source_gradient.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      sum_lists<S>(args.destination_gradient, args.source_gradient, begin, end, list_of, weigh);
    });
  });
}

}  // namespace gsplit::cpu
