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
/// group's width apart. REQUIRES: c < op.cols, so that the first pack is there in any case.
template <class S, class T, int kPack, int kLanes, int kChunks, class Op>
__device__ void sum_list(const Op& op, std::int64_t i, std::int64_t c,
                         Pack<T, kPack> (&sum)[kChunks]) {
  const RowIndex begin = op.indptr[i], length = op.indptr[i + 1] - begin;
  for (RowIndex first = 0; first < length; first += kInFlight) {
    Pack<S, kPack> values[kInFlight][kChunks];
    T weights[kInFlight];
    bool counts[kInFlight];
    [[maybe_unused]] T factors[kInFlight];
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (first + k >= length) break;
      const RowIndex e = begin + first + k, column = op.columns[e];
      counts[k] = op.counts(column);
      if (!counts[k]) continue;
      weights[k] = op.weight(e, column, i);
      if constexpr (Op::kScalesRows) factors[k] = op.factor(column);
      const S* const row = op.row(column);
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const std::int64_t at = c + chunk * kLanes * kPack;
        if (chunk == 0 || at < op.cols) values[k][chunk] = pack_at<kPack>(row + at);
      }
    }
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (first + k >= length) break;
      if (!counts[k]) continue;
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const std::int64_t at = c + chunk * kLanes * kPack;
        if (chunk > 0 && at >= op.cols) continue;
        if constexpr (Op::kScalesRows) apply_factor(factors[k], values[k][chunk]);
        add_scaled(weights[k], values[k][chunk], sum[chunk]);
      }
    }
  }
}

/// A group of kLanes has one of the `tiles` into which the columns of an output row are cut.
template <class S, int kPack, int kLanes, int kChunks, class Op>
__device__ void sum_tile(const Op& op, std::int64_t tiles) {
  using T = compute_type<S>;
  const std::int64_t group = index_of_thread() / kLanes;
  const std::int64_t i = tiles == 1 ? group : group / tiles;
  if (i >= op.rows) return;
  const std::int64_t first =
      ((group - i * tiles) * kLanes * kChunks + threadIdx.x % kLanes) * kPack;
  if (first >= op.cols) return;
  Pack<T, kPack> sum[kChunks] = {};
  sum_list<S, T, kPack, kLanes, kChunks>(op, i, first, sum);
  const T scale = op.scale_of(i), self = op.self_scale_of(i);
#pragma unroll
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    const std::int64_t at = first + chunk * kLanes * kPack;
    if (at >= op.cols) continue;
    if (op.before.data != nullptr) {
      add_scaled(T{1}, pack_at<kPack>(op.before.row(i) + at), sum[chunk]);
    }
    for (int p = 0; p < kPack; ++p) sum[chunk].value[p] *= scale;
    if (self != T{0}) {
      Pack<S, kPack> own = pack_at<kPack>(op.row(i) + at);
      if constexpr (Op::kScalesRows) apply_factor(op.factor(i), own);
      add_scaled(self, own, sum[chunk]);
    }
    Pack<S, kPack> result;
    for (int p = 0; p < kPack; ++p) result.value[p] = narrow<S>(sum[chunk].value[p]);
    pack_at<kPack>(op.output.row(i) + at) = result;
  }
}

template <class S, int kPack, int kLanes, int kChunks>
__global__ void weighted_sum(WeightedSum<S> op, std::int64_t tiles) {
  sum_tile<S, kPack, kLanes, kChunks>(op, tiles);
}

template <class S, int kPack, int kLanes, int kChunks>
__global__ void placed_sum(PlacedSum<S> op, std::int64_t tiles) {
  sum_tile<S, kPack, kLanes, kChunks>(op, tiles);
}

template <class T>
__global__ void destination_scales(Scale scale, std::int64_t rows, T* scales) {
  const std::int64_t i = index_of_thread();
  if (i < rows) scales[i] = scale.of<T>(i);
}

template <class S, int kPack, int kLanes, int kChunks>
void launch(const WeightedSum<S>& op, const Queue& queue) {
  constexpr std::int64_t kTile = kPack * kLanes * kChunks;
  const std::int64_t tiles = (op.cols + kTile - 1) / kTile;
  weighted_sum<S, kPack, kLanes, kChunks>
      <<<blocks_for(op.rows * tiles * kLanes), kBlock, 0, queue.raw()>>>(op, tiles);
  check_launch("weighted_sum");
}

/// As many lanes as a row has packs, up to a warp; from there on several packs a lane. Not every
/// form is compiled for every type: fp64 is for reference only, and of bf16 the wide packs reach
/// 256 columns with one a lane.
template <class S, int kPack>
void launch_by_width(const WeightedSum<S>& op, const Queue& queue) {
  constexpr bool kSingle = std::is_same_v<S, float>, kSmall = std::is_same_v<S, BFloat16>;
  constexpr bool kIsWide = kPack == kWide<S>;
  [[maybe_unused]] const std::int64_t packs = op.cols / kPack;
  if constexpr (kSingle || (kSmall && kIsWide)) {
    if (packs <= 8) return launch<S, kPack, 8, 1>(op, queue);
  }
  if constexpr ((kSingle || kSmall) && kIsWide) {
    if (packs <= 16) return launch<S, kPack, 16, 1>(op, queue);
  }
  if constexpr (kSingle) {
    if (packs > 32) return launch<S, kPack, 32, 2>(op, queue);
  }
  launch<S, kPack, 32, kSmall && kPack == 1 ? 2 : 1>(op, queue);
}

template <class S, int kPack, int kLanes, int kChunks>
void launch(const PlacedSum<S>& op, const Queue& queue) {
  constexpr std::int64_t kTile = kPack * kLanes * kChunks;
  const std::int64_t tiles = (op.cols + kTile - 1) / kTile;
  placed_sum<S, kPack, kLanes, kChunks>
      <<<blocks_for(op.rows * tiles * kLanes), kBlock, 0, queue.raw()>>>(op, tiles);
  check_launch("placed_sum");
}

/// Fewer forms than weighted_sum has: these are input rows, whose widths are features'. `before`:
/// the output where there is nothing before.
template <class S>
void sum_placed(const PlacedSum<S>& op, const MatrixView& output, const ConstMatrixView& before,
                const Queue& queue) {
  if (op.rows == 0 || op.cols == 0) return;
  const ConstMatrixView place{nullptr, output.dtype, 0, op.cols, op.cols};
  const auto have = [&](int pack) {
    return has_packs(place, pack) && has_packs(output, pack) && has_packs(before, pack);
  };
  constexpr int kFull = kWide<S>;
  if (have(kFull)) {
    if constexpr (!std::is_same_v<S, double>) {
      if (op.cols / kFull <= 16) return launch<S, kFull, 16, 1>(op, queue);
    }
    if constexpr (std::is_same_v<S, float>) {
      if (op.cols / kFull > 32) return launch<S, kFull, 32, 2>(op, queue);
    }
    return launch<S, kFull, 32, 1>(op, queue);
  }
  if constexpr (!std::is_same_v<S, double>) {
    constexpr int kHalf = kFull / 2, kChunks = std::is_same_v<S, float> ? 2 : 1;
    if (have(kHalf)) return launch<S, kHalf, 32, kChunks>(op, queue);
  }
  launch<S, 1, 32, 2>(op, queue);
}

/// `before`: the output where there is nothing before.
template <class S>
void sum(const WeightedSum<S>& op, const ConstMatrixView& source, const MatrixView& output,
         const ConstMatrixView& before, const Queue& queue) {
  if (op.rows == 0 || op.cols == 0) return;
  if constexpr (std::is_same_v<S, float>) {
    // Rows of 602 columns, say, which begin at multiples of 8 bytes.
    constexpr int kHalf = kWide<S> / 2;
    const auto have = [&](int pack) {
      return has_packs(source, pack) && has_packs(output, pack) && has_packs(before, pack);
    };
    if (have(kHalf) && !have(kWide<S>)) return launch_by_width<S, kHalf>(op, queue);
  }
  dispatch_width<S>({source, output, before},
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
  destination_scales<T><<<blocks_for(rows), kBlock, 0, queue.raw()>>>(scale_of(indptr, options),
                                                                      rows, scales.data());
  check_launch("destination_scales");
  return scales;
}

template Buffer<float> scales_of(std::span<const RowIndex>, const AggregateOptions&, const Queue&);
template Buffer<double> scales_of(std::span<const RowIndex>, const AggregateOptions&, const Queue&);

void aggregate(const AggregateArgs& args, const Queue& queue) {
  dispatch_rows(args.source.dtype, [&](auto zero) {
    using S = decltype(zero);
    const WeightedSum<S> op = forward_sum<S>(args);
    const ConstMatrixView before = args.before.rows > 0 ? args.before : args.destination;
    if (args.places.empty()) return sum(op, args.source, args.destination, before, queue);
    PlacedSum<S> placed{op};
    placed.places = args.places.rows.data();
    placed.factors = data_or_null(args.places.factors);
    placed.num_factors = static_cast<std::int64_t>(args.places.factors.size());
    sum_placed(placed, args.destination, before, queue);
  });
}

void aggregate_backward(const AggregateBackwardArgs& args, const Queue& queue) {
  dispatch_rows(args.source_gradient.dtype, [&](auto zero) {
    using S = decltype(zero);
    const auto scales = scales_of<compute_type<S>>(args.indptr, args.options, queue);
    sum(backward_sum<S>(args, scales), args.destination_gradient, args.source_gradient,
        args.source_gradient, queue);
  });
}

}  // namespace gsplit::cuda
