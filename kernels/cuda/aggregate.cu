// Block aggregation, forward and backward. Both are one kernel: a group of lanes owns an output row
// and walks the list of rows that it sums, in stored order, several loads in flight; the sum stays
// in registers and is written once. No atomics, so equal inputs give equal bits.
//
// Bound by memory: each edge reads one source row, scattered; the indices are 4 bytes an edge.
#include "kernels/cuda/aggregate.cuh"

namespace gsplit::cuda {
namespace {

constexpr int kInFlight = 4;  // source rows being loaded at once by a group

/// The sum over one row's list, of the columns from `c` on that this lane has: kChunks packs, a
/// group's width apart.
template <class S, class T, int kPack, int kLanes, int kChunks>
__device__ void sum_list(const WeightedSum<S>& op, std::int64_t i, std::int64_t c,
                         Pack<T, kPack> (&sum)[kChunks]) {
  const RowIndex begin = op.indptr[i], length = op.indptr[i + 1] - begin;
  for (RowIndex first = 0; first < length; first += kInFlight) {
    Pack<S, kPack> values[kInFlight][kChunks];
    T weights[kInFlight];
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (first + k >= length) break;
      const RowIndex e = begin + first + k, column = op.columns[e];
      weights[k] = op.weight(e, column, i);
      const S* const row = op.source.row(column);
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

template <class S, int kPack, int kLanes, int kChunks>
__global__ void weighted_sum(WeightedSum<S> op) {
  using T = compute_type<S>;
  const std::int64_t i = index_of_thread() / kLanes;
  if (i >= op.rows) return;
  const std::int64_t first = threadIdx.x % kLanes * kPack;
  const T scale = op.scale_of(i), self = op.self_scale_of(i);
  for (std::int64_t c = first; c < op.cols; c += kLanes * kPack * kChunks) {
    Pack<T, kPack> sum[kChunks] = {};
    sum_list<S, T, kPack, kLanes, kChunks>(op, i, c, sum);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const std::int64_t at = c + chunk * kLanes * kPack;
      if (at >= op.cols) continue;
      for (int p = 0; p < kPack; ++p) sum[chunk].value[p] *= scale;
      if (self != T{0}) add_scaled(self, pack_at<kPack>(op.source.row(i) + at), sum[chunk]);
      Pack<S, kPack> result;
      for (int p = 0; p < kPack; ++p) result.value[p] = narrow<S>(sum[chunk].value[p]);
      pack_at<kPack>(op.output.row(i) + at) = result;
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

template <class S, int kPack, int kLanes, int kChunks>
void launch(const WeightedSum<S>& op, const Queue& queue) {
  weighted_sum<S, kPack, kLanes, kChunks>
      <<<blocks_for(op.rows * kLanes), kBlock, 0, queue.raw()>>>(op);
  check_launch("weighted_sum");
}

/// As many lanes as a row has packs, up to a warp; from there on several packs a lane. Not every
/// form is compiled for every type: fp64 is for reference only, and of bf16 the wide packs reach
/// 256 columns with one a lane.
template <class S, int kPack>
void launch_by_width(const WeightedSum<S>& op, const Queue& queue) {
  constexpr bool kSingle = std::is_same_v<S, float>, kSmall = std::is_same_v<S, BFloat16>;
  [[maybe_unused]] const std::int64_t packs = op.cols / kPack;
  if constexpr (kSingle || (kSmall && kPack == kWide<S>)) {
    if (packs <= 8) return launch<S, kPack, 8, 1>(op, queue);
  }
  if constexpr (kSingle) {
    if (packs > 32) return launch<S, kPack, 32, 2>(op, queue);
  }
  launch<S, kPack, 32, kSmall && kPack == 1 ? 2 : 1>(op, queue);
}

template <class S>
void sum(const WeightedSum<S>& op, const ConstMatrixView& source, const MatrixView& output,
         const Queue& queue) {
  if (op.rows == 0 || op.cols == 0) return;
  dispatch_width<S>({source, output},
                    [&](auto pack) { launch_by_width<S, decltype(pack)::value>(op, queue); });
}

}  // namespace

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

template Buffer<float> scales_of(std::span<const RowIndex>, const AggregateOptions&, const Queue&);
template Buffer<double> scales_of(std::span<const RowIndex>, const AggregateOptions&, const Queue&);

void aggregate(const AggregateArgs& args, const Queue& queue) {
  dispatch_rows(args.source.dtype, [&](auto zero) {
    using S = decltype(zero);
    const auto scales = scales_of<compute_type<S>>(args.indptr, args.options, queue);
    sum(forward_sum<S>(args, scales), args.source, args.destination, queue);
  });
}

void aggregate_backward(const AggregateBackwardArgs& args, const Queue& queue) {
  dispatch_rows(args.source_gradient.dtype, [&](auto zero) {
    using S = decltype(zero);
    const auto scales = scales_of<compute_type<S>>(args.indptr, args.options, queue);
    sum(backward_sum<S>(args, scales), args.destination_gradient, args.source_gradient, queue);
  });
}

}  // namespace gsplit::cuda
