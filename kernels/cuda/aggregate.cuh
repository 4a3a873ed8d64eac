// What aggregation is, whoever sums: our kernel (aggregate.cu) or cuSPARSE (spmm.cu).
#pragma once

#include "kernels/cuda/launch.cuh"

namespace gsplit::cuda {

/// What the sum of a destination is multiplied by: a factor of its own, and where the mean is asked
/// for one over its list's length.
struct Scale {
  const RowIndex* indptr;   ///< (destinations + 1)
  const double* row_scale;  ///< null: 1
  bool mean;

  template <class T>
  __device__ T of(std::int64_t i) const {
    double scale = row_scale == nullptr ? 1.0 : row_scale[i];
    if (mean) {
      const RowIndex length = indptr[i + 1] - indptr[i];
      if (length > 1) scale /= length;
    }
    return static_cast<T>(scale);
  }
};

inline Scale scale_of(std::span<const RowIndex> indptr, const AggregateOptions& options) {
  return {indptr.data(), data_or_null(options.row_scale), options.reduce == Reduce::kMean};
}

/// output[i] = scale[i] * sum over e in row i of w_e * source[columns[e]] + self_scale[i] *
/// source[i], w_e being the product of the weights that are given. Of rows of S; sums and weights
/// are computed.
template <class S>
struct WeightedSum {
  using T = compute_type<S>;
  const RowIndex* indptr;  ///< (rows + 1)
  const RowIndex* columns;
  Rows<const S> source;
  Rows<S> output;
  std::int64_t rows;
  std::int64_t cols;
  const float* edge_weights;     ///< null: 1
  const RowIndex* edge_numbers;  ///< of edge_weights; null: e
  const T* source_weights;       ///< by source row; null: 1
  Scale scale;                   ///< of an output row
  const double* self_scale;      ///< null: 0
  std::int64_t self_scales;      ///< rows that have one
  bool skip_loops;
  RowRange only;         ///< source rows that count
  Rows<const T> before;  ///< what a sum begins with; null: 0

  static constexpr bool kScalesRows = false;
  __device__ const S* row(std::int64_t column) const { return source.row(column); }
  __device__ bool counts(RowIndex column) const {
    return column >= only.begin && column < only.end;
  }
  __device__ T weight(RowIndex e, RowIndex column, std::int64_t i) const {
    T weight = skip_loops && column == i ? T{0} : T{1};
    if (source_weights != nullptr) weight *= source_weights[column];
    if (edge_weights != nullptr) {
      weight *= static_cast<T>(edge_weights[edge_numbers == nullptr ? e : edge_numbers[e]]);
    }
    return weight;
  }
  __device__ T scale_of(std::int64_t i) const { return scale.template of<T>(i); }
  __device__ T self_scale_of(std::int64_t i) const {
    return self_scale != nullptr && i < self_scales ? static_cast<T>(self_scale[i]) : T{0};
  }
};

/// The same of rows that lie anywhere (RowPlaces).
template <class S>
struct PlacedSum : WeightedSum<S> {
  using T = compute_type<S>;
  const void* const* places;
  const double* factors;  ///< null: 1
  std::int64_t num_factors;

  static constexpr bool kScalesRows = true;
  __device__ const S* row(std::int64_t column) const {
    return static_cast<const S*>(places[column]);
  }
  __device__ T factor(std::int64_t column) const {
    return factors != nullptr && column < num_factors ? static_cast<T>(factors[column]) : T{1};
  }
};

/// What scale_rows makes of the values: rounded as it rounds.
template <class T, class S, int kPack>
__device__ void apply_factor(T factor, Pack<S, kPack>& values) {
  for (int p = 0; p < kPack; ++p) values.value[p] = narrow<S>(widen(values.value[p]) * factor);
}

template <class T, class S, int kPack>
__device__ void add_scaled(T weight, const Pack<S, kPack>& values, Pack<T, kPack>& sum) {
  for (int p = 0; p < kPack; ++p) sum.value[p] += weight * widen(values.value[p]);
}

/// The scales of all destinations, for the backward pass, which reads them by edge; empty where all
/// are 1. Defined in aggregate.cu for float and double.
template <class T>
Buffer<T> scales_of(std::span<const RowIndex> indptr, const AggregateOptions& options,
                    const Queue& queue);

/// Checks the arguments.
template <class S>
WeightedSum<S> forward_sum(const AggregateArgs& args) {
  GSPLIT_CHECK(args.destination.rows + 1 == static_cast<std::int64_t>(args.indptr.size()));
  GSPLIT_CHECK(args.destination.cols == args.source.cols);
  GSPLIT_CHECK(args.destination.dtype == args.source.dtype);
  GSPLIT_CHECK(args.edge_weights.empty() || args.edge_weights.size() == args.columns.size());
  GSPLIT_CHECK(args.before.rows == 0 || args.before.rows == args.destination.rows);
  GSPLIT_CHECK((args.only.is_all() && args.before.rows == 0) || args.source.dtype != DType::kBF16);
  return {.indptr = args.indptr.data(),
          .columns = args.columns.data(),
          .source = rows_of<S>(args.source),
          .output = rows_of<S>(args.destination),
          .rows = args.destination.rows,
          .cols = args.destination.cols,
          .edge_weights = data_or_null(args.edge_weights),
          .edge_numbers = nullptr,
          .source_weights = nullptr,
          .scale = scale_of(args.indptr, args.options),
          .self_scale = data_or_null(args.options.self_scale),
          .self_scales = static_cast<std::int64_t>(args.options.self_scale.size()),
          .skip_loops = args.options.skip_loops,
          .only = args.only,
          .before = rows_of<compute_type<S>>(args.before)};
}

/// `scales`: of scales_of(); must stay alive until the sum has been queued. Checks the arguments.
template <class S>
WeightedSum<S> backward_sum(const AggregateBackwardArgs& args,
                            const Buffer<compute_type<S>>& scales) {
  GSPLIT_CHECK(args.source_gradient.rows + 1 ==
               static_cast<std::int64_t>(args.inverse_indptr.size()));
  GSPLIT_CHECK(args.source_gradient.cols == args.destination_gradient.cols);
  GSPLIT_CHECK(args.source_gradient.dtype == args.destination_gradient.dtype);
  GSPLIT_CHECK(args.edge_weights.empty() || args.edge_weights.size() == args.inverse_edges.size());
  return {.indptr = args.inverse_indptr.data(),
          .columns = args.inverse_destinations.data(),
          .source = rows_of<S>(args.destination_gradient),
          .output = rows_of<S>(args.source_gradient),
          .rows = args.source_gradient.rows,
          .cols = args.source_gradient.cols,
          .edge_weights = data_or_null(args.edge_weights),
          .edge_numbers = data_or_null(args.inverse_edges),
          .source_weights = scales.data(),
          .scale = {},
          .self_scale = data_or_null(args.options.self_scale),
          .self_scales = static_cast<std::int64_t>(args.options.self_scale.size()),
          .skip_loops = args.options.skip_loops,
          .only = {},
          .before = {}};
}

}  // namespace gsplit::cuda
