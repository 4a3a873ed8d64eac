// Block aggregation, forward and backward. Both are one kernel: a group of lanes owns an output row
// and walks the list of rows that it sums, in stored order, several loads in flight; the sum stays
// in registers and is written once. No atomics, so equal inputs give equal bits.
//
// Bound by memory: each edge reads one source row, scattered; the indices are 4 bytes an edge.
#include "kernels/cuda/launch.cuh"

namespace gsplit::cuda {
namespace {

constexpr int kInFlight = 4;  // source rows being loaded at once by a group

/// output[i] = scale[i] * sum over e in row i of w_e * source[columns[e]] + self_scale[i] *
/// source[i], w_e being the product of the weights that are given.
template <class T>
struct WeightedSum {
  const RowIndex* indptr;  ///< (rows + 1)
  const RowIndex* columns;
  Rows<const T> source;
  Rows<T> output;
  std::int64_t rows;
  std::int64_t cols;
  const float* edge_weights;     ///< null: 1
  const RowIndex* edge_numbers;  ///< of edge_weights; null: e
  const T* source_weights;       ///< by source row; null: 1
  const T* scale;                ///< by output row; null: 1
  const double* self_scale;      ///< null: 0
  std::int64_t self_scales;      ///< rows that have one
  bool skip_loops;

  __device__ T weight(RowIndex e, RowIndex column, std::int64_t i) const {
    T weight = skip_loops && column == i ? T{0} : T{1};
    if (source_weights != nullptr) weight *= source_weights[column];
    if (edge_weights != nullptr) {
      weight *= static_cast<T>(edge_weights[edge_numbers == nullptr ? e : edge_numbers[e]]);
    }
    return weight;
  }
};

template <class T, int kPack>
__device__ void add_scaled(T weight, const Pack<T, kPack>& values, Pack<T, kPack>& sum) {
  for (int p = 0; p < kPack; ++p) sum.value[p] += weight * values.value[p];
}

/// The sum over one row's list, of the columns from `c` on that this lane has: kChunks packs, a
/// group's width apart.
template <class T, int kPack, int kLanes, int kChunks>
__device__ void sum_list(const WeightedSum<T>& op, std::int64_t i, std::int64_t c,
                         Pack<T, kPack> (&sum)[kChunks]) {
  const RowIndex begin = op.indptr[i], length = op.indptr[i + 1] - begin;
  for (RowIndex first = 0; first < length; first += kInFlight) {
    Pack<T, kPack> values[kInFlight][kChunks];
    T weights[kInFlight];
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (first + k >= length) break;
      const RowIndex e = begin + first + k, column = op.columns[e];
      weights[k] = op.weight(e, column, i);
      const T* const row = op.source.row(column);
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const std::int64_t at = c + chunk * kLanes * kPack;
        if (at < op.cols) values[k][chunk] = pack_at<kPack>(row + at);
      }
    }
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (first + k >= length) break;
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const std::int64_t at = c + chunk * kLanes * kPack;
        if (at < op.cols) add_scaled(weights[k], values[k][chunk], sum[chunk]);
      }
    }
  }
}

template <class T, int kPack, int kLanes, int kChunks>
__global__ void weighted_sum(WeightedSum<T> op) {
  const std::int64_t i = index_of_thread() / kLanes;
  if (i >= op.rows) return;
  const std::int64_t first = threadIdx.x % kLanes * kPack;
  const T scale = op.scale == nullptr ? T{1} : op.scale[i];
  const T self =
      op.self_scale != nullptr && i < op.self_scales ? static_cast<T>(op.self_scale[i]) : T{0};
  for (std::int64_t c = first; c < op.cols; c += kLanes * kPack * kChunks) {
    Pack<T, kPack> sum[kChunks] = {};
    sum_list<T, kPack, kLanes, kChunks>(op, i, c, sum);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const std::int64_t at = c + chunk * kLanes * kPack;
      if (at >= op.cols) continue;
      for (int p = 0; p < kPack; ++p) sum[chunk].value[p] *= scale;
      if (self != T{0}) add_scaled(self, pack_at<kPack>(op.source.row(i) + at), sum[chunk]);
      pack_at<kPack>(op.output.row(i) + at) = sum[chunk];
    }
  }
}

/// What a destination's sum is multiplied by.
template <class T>
__global__ void destination_scales(const RowIndex* indptr, std::int64_t rows, bool mean,
                                   const double* row_scale, T* scales) {
  const std::int64_t i = index_of_thread();
  if (i >= rows) return;
  double scale = row_scale == nullptr ? 1.0 : row_scale[i];
  const RowIndex length = indptr[i + 1] - indptr[i];
  if (mean && length > 1) scale /= length;
  scales[i] = static_cast<T>(scale);
}

/// (rows), or empty where all are 1.
template <class T>
Buffer<T> scales_of(std::span<const RowIndex> indptr, const AggregateOptions& options,
                    const Queue& queue) {
  if (options.reduce == Reduce::kSum && options.row_scale.empty()) return {};
  Buffer<T> scales(queue.memory, indptr.size() - 1);
  const auto rows = static_cast<std::int64_t>(scales.size());
  if (rows == 0) return scales;
  destination_scales<T><<<blocks_for(rows), kBlock, 0, queue.raw()>>>(
      indptr.data(), rows, options.reduce == Reduce::kMean, data_or_null(options.row_scale),
      scales.data());
  check_launch("destination_scales");
  return scales;
}

template <class T, int kPack, int kLanes, int kChunks>
void launch(const WeightedSum<T>& op, const Queue& queue) {
  weighted_sum<T, kPack, kLanes, kChunks>
      <<<blocks_for(op.rows * kLanes), kBlock, 0, queue.raw()>>>(op);
  check_launch("weighted_sum");
}

/// As many lanes as a row has packs, up to a warp; from there on several packs a lane.
template <class T, int kPack>
void launch_by_width(const WeightedSum<T>& op, const Queue& queue) {
  const std::int64_t packs = op.cols / kPack;
  if (packs <= 8) return launch<T, kPack, 8, 1>(op, queue);
  if (packs <= 32) return launch<T, kPack, 32, 1>(op, queue);
  launch<T, kPack, 32, 2>(op, queue);
}

template <class T>
void sum(const WeightedSum<T>& op, const ConstMatrixView& source, const MatrixView& output,
         const Queue& queue) {
  if (op.rows == 0 || op.cols == 0) return;
  dispatch_width<T>({source, output},
                    [&](auto pack) { launch_by_width<T, decltype(pack)::value>(op, queue); });
}

}  // namespace

void aggregate(const AggregateArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.destination.rows + 1 == static_cast<std::int64_t>(args.indptr.size()));
  GSPLIT_CHECK(args.destination.cols == args.source.cols);
  GSPLIT_CHECK(args.destination.dtype == args.source.dtype);
  GSPLIT_CHECK(args.edge_weights.empty() || args.edge_weights.size() == args.columns.size());
  dispatch_compute(args.source.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Buffer<T> scales = scales_of<T>(args.indptr, args.options, queue);
    const WeightedSum<T> op{
        .indptr = args.indptr.data(),
        .columns = args.columns.data(),
        .source = rows_of<T>(args.source),
        .output = rows_of<T>(args.destination),
        .rows = args.destination.rows,
        .cols = args.destination.cols,
        .edge_weights = data_or_null(args.edge_weights),
        .edge_numbers = nullptr,
        .source_weights = nullptr,
        .scale = scales.data(),
        .self_scale = data_or_null(args.options.self_scale),
        .self_scales = static_cast<std::int64_t>(args.options.self_scale.size()),
        .skip_loops = args.options.skip_loops};
    sum(op, args.source, args.destination, queue);
  });
}

void aggregate_backward(const AggregateBackwardArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.source_gradient.rows + 1 ==
               static_cast<std::int64_t>(args.inverse_indptr.size()));
  GSPLIT_CHECK(args.source_gradient.cols == args.destination_gradient.cols);
  GSPLIT_CHECK(args.source_gradient.dtype == args.destination_gradient.dtype);
  GSPLIT_CHECK(args.edge_weights.empty() || args.edge_weights.size() == args.inverse_edges.size());
  dispatch_compute(args.source_gradient.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Buffer<T> scales = scales_of<T>(args.indptr, args.options, queue);
    const WeightedSum<T> op{
        .indptr = args.inverse_indptr.data(),
        .columns = args.inverse_destinations.data(),
        .source = rows_of<T>(args.destination_gradient),
        .output = rows_of<T>(args.source_gradient),
        .rows = args.source_gradient.rows,
        .cols = args.source_gradient.cols,
        .edge_weights = data_or_null(args.edge_weights),
        .edge_numbers = data_or_null(args.inverse_edges),
        .source_weights = scales.data(),
        .scale = nullptr,
        .self_scale = data_or_null(args.options.self_scale),
        .self_scales = static_cast<std::int64_t>(args.options.self_scale.size()),
        .skip_loops = args.options.skip_loops};
    sum(op, args.destination_gradient, args.source_gradient, queue);
  });
}

}  // namespace gsplit::cuda
