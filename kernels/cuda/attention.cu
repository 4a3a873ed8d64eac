// Softmax attention over a block, forward and backward. Forward: a warp finds a destination's
// largest logit and sum for one head and leaves each edge its coefficient; then rows are summed by
// head as in aggregate.cu. Backward: the gradient of a coefficient is a dot product of two rows;
// softmax's derivative makes it that of a logit; sums over the inverse CSR collect both. No
// atomics.
//
// Coefficients and their gradients are 4 bytes an edge and head beside a row an edge: bound by
// memory, as aggregation. What an edge (i, i) has is 0.
#include "kernels/cuda/launch.cuh"

namespace gsplit::cuda {
namespace {

constexpr int kInFlight = 4;  // rows being loaded at once

/// Where logits come from; a slot is an edge and a head, edge * heads + h.
template <class T>
struct Logits {
  const RowIndex* indptr;
  const RowIndex* columns;
  Rows<const T> sources;
  Rows<const T> destinations;
  std::int64_t rows;
  std::int64_t heads;
  T negative_slope;
  DrawKey key;
  std::uint32_t threshold;  ///< 0: nothing is dropped
  T scale;
  const OriginalId* nodes;

  __device__ T raw(RowIndex source, std::int64_t i, std::int64_t h) const {
    return sources.row(source)[h] + destinations.row(i)[h];
  }
  __device__ T slope(T raw) const { return raw > T{0} ? T{1} : negative_slope; }
  __device__ T logit(RowIndex source, std::int64_t i, std::int64_t h) const {
    const T x = raw(source, i, h);
    return x * slope(x);
  }
  /// What dropout makes of the coefficient at position k of destination i.
  __device__ T kept(std::int64_t i, std::int64_t k, std::int64_t h) const {
    if (threshold == 0) return T{1};
    const std::int64_t number = k * heads + h;
    const std::uint32_t bits = kept_columns(
        key, threshold, nodes[i], static_cast<std::uint32_t>(number / kDropoutColumnsPerBlock));
    return ((bits >> (number % kDropoutColumnsPerBlock)) & 1u) != 0 ? scale : T{0};
  }
};

/// A value per slot of the edges, and of the destinations themselves.
template <class T>
struct Slots {
  T* edges;  ///< (edges, heads)
  T* own;    ///< (destinations, heads)
};

template <class T>
struct SlotBuffers {
  Buffer<T> edges, own;
  SlotBuffers(const Attention& attention, std::int64_t heads, CudaMemory& memory)
      : edges(memory, attention.columns.size() * static_cast<std::size_t>(heads)),
        own(memory, static_cast<std::size_t>(attention.destination_logits.rows * heads)) {}
  Slots<T> get() { return {edges.data(), own.data()}; }
};

template <class T>
__device__ T warp_largest(T value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = max(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  return value;
}

/// Destination and head of a warp.
struct Place {
  std::int64_t i, h;
};

__device__ Place place_of_warp(std::int64_t heads) {
  const std::int64_t warp = index_of_thread() / kWarp;
  return {warp / heads, warp % heads};
}

template <class T>
__global__ void attention_softmax(Logits<T> logits, Rows<T> softmax, Slots<T> weights) {
  const auto [i, h] = place_of_warp(logits.heads);
  if (i >= logits.rows) return;
  const int lane = threadIdx.x % kWarp;
  const std::int64_t begin = logits.indptr[i], length = logits.indptr[i + 1] - begin;
  const auto self = static_cast<RowIndex>(i);
  const T own = logits.logit(self, i, h);
  T largest = own;
  for (std::int64_t k = lane; k < length; k += kWarp) {
    const RowIndex source = logits.columns[begin + k];
    if (source != self) largest = max(largest, logits.logit(source, i, h));
  }
  largest = warp_largest(largest);
  T sum = lane == 0 ? exp(own - largest) : T{0};
  for (std::int64_t k = lane; k < length; k += kWarp) {
    const RowIndex source = logits.columns[begin + k];
    if (source != self) sum += exp(logits.logit(source, i, h) - largest);
  }
  sum = warp_sum(sum);
  for (std::int64_t k = lane; k < length; k += kWarp) {
    const RowIndex source = logits.columns[begin + k];
    const T part = source == self ? T{0} : exp(logits.logit(source, i, h) - largest);
    weights.edges[(begin + k) * logits.heads + h] = part / sum * logits.kept(i, k, h);
  }
  if (lane != 0) return;
  softmax.row(i)[h] = largest;
  softmax.row(i)[logits.heads + h] = sum;
  weights.own[i * logits.heads + h] = exp(own - largest) / sum * logits.kept(i, length, h);
}

/// Rows of S that hold a block of `width` columns per head, or one block that all heads read.
template <class S>
struct HeadRows {
  Rows<const S> rows;
  std::int64_t width;
  std::int64_t step;  ///< from one head's block to the next one's; 0: shared

  __device__ const S* block(std::int64_t i, std::int64_t h) const { return rows.row(i) + h * step; }
};

/// dots = gradient of destination i's output . values of its source, per head: the gradient of the
/// coefficient. A warp a destination.
template <class S>
__global__ void coefficient_gradients(Logits<compute_type<S>> logits, HeadRows<S> values,
                                      HeadRows<S> upstream, Slots<compute_type<S>> dots) {
  using T = compute_type<S>;
  const std::int64_t i = index_of_thread() / kWarp;
  if (i >= logits.rows) return;
  const int lane = threadIdx.x % kWarp;
  const std::int64_t begin = logits.indptr[i], length = logits.indptr[i + 1] - begin;
  for (std::int64_t k = 0; k <= length; ++k) {
    const std::int64_t source = k < length ? logits.columns[begin + k] : i;
    T* const out =
        k < length ? dots.edges + (begin + k) * logits.heads : dots.own + i * logits.heads;
    for (std::int64_t h = 0; h < logits.heads; ++h) {
      const S* const a = upstream.block(i, h);
      const S* const b = values.block(source, h);
      T dot{0};
      for (std::int64_t c = lane; c < values.width; c += kWarp) dot += widen(a[c]) * widen(b[c]);
      dot = warp_sum(dot);
      if (lane == 0) out[h] = dot;
    }
  }
}

/// From the gradients of coefficients, in `gradients`, to those of logits there, and weights. By
/// softmax's derivative a logit's is c (g - mean of g).
template <class T>
__global__ void logit_gradients(Logits<T> logits, Rows<const T> softmax, Slots<T> gradients,
                                Slots<T> weights, Rows<T> destination_gradient) {
  const auto [i, h] = place_of_warp(logits.heads);
  if (i >= logits.rows) return;
  const int lane = threadIdx.x % kWarp;
  const std::int64_t begin = logits.indptr[i], length = logits.indptr[i + 1] - begin;
  const auto self = static_cast<RowIndex>(i);
  const T largest = softmax.row(i)[h], sum = softmax.row(i)[logits.heads + h];
  // The destination itself stands at position `length`.
  const auto at = [&](const Slots<T>& slots, std::int64_t k) -> T& {
    return k < length ? slots.edges[(begin + k) * logits.heads + h]
                      : slots.own[i * logits.heads + h];
  };
  T mean{0};
  for (std::int64_t k = lane; k <= length; k += kWarp) {
    const RowIndex source = k < length ? logits.columns[begin + k] : self;
    const bool loop = k < length && source == self;
    const T c = loop ? T{0} : exp(logits.logit(source, i, h) - largest) / sum;
    const T kept = logits.kept(i, k, h);
    at(weights, k) = c * kept;
    at(gradients, k) *= kept;
    mean += c * at(gradients, k);
  }
  mean = warp_sum(mean);
  T total{0};
  for (std::int64_t k = lane; k <= length; k += kWarp) {
    const RowIndex source = k < length ? logits.columns[begin + k] : self;
    const bool loop = k < length && source == self;
    const T raw = logits.raw(source, i, h);
    const T c = loop ? T{0} : exp(raw * logits.slope(raw) - largest) / sum;
    const T gradient = c * (at(gradients, k) - mean) * logits.slope(raw);
    at(gradients, k) = gradient;
    total += gradient;
  }
  total = warp_sum(total);
  if (lane == 0) destination_gradient.row(i)[h] = total;
}

/// Which edges a row collects from: its own of the block, or by the inverse CSR those that read it.
struct Lists {
  const RowIndex* indptr;
  const RowIndex* rows;   ///< whose row each edge reads
  const RowIndex* edges;  ///< null: e

  __device__ std::int64_t edge(RowIndex e) const { return edges == nullptr ? e : edges[e]; }
};

/// output[j][h] = sum of the edges' slots, and of j's own where it is a destination.
template <class T>
__global__ void sum_slots(Lists lists, Slots<T> slots, std::int64_t own_rows, std::int64_t rows,
                          std::int64_t heads, Rows<T> output) {
  const std::int64_t place = index_of_thread(), j = place / heads, h = place % heads;
  if (j >= rows) return;
  T sum{0};
  for (RowIndex e = lists.indptr[j]; e < lists.indptr[j + 1]; ++e) {
    sum += slots.edges[lists.edge(e) * heads + h];
  }
  if (j < own_rows) sum += slots.own[j * heads + h];
  output.row(j)[h] = sum;
}

/// Sums of rows weighted by slot.
template <class S>
struct HeadSum {
  using T = compute_type<S>;
  Lists lists;
  Slots<T> weights;
  std::int64_t own_rows;  ///< the first rows of the output take part in their own sum
  HeadRows<S> source;
  Rows<S> output;
  std::int64_t rows;
  std::int64_t cols;  ///< of the output
  std::int64_t heads;
};

/// Adds to `sum` what one edge gives to columns [c, c + kPack): of the head that they belong to, or
/// with kAllHeads of each head's block.
template <bool kAllHeads, class S, class T, int kPack>
__device__ void add_row(const HeadSum<S>& op, const T* weights, std::int64_t row, std::int64_t c,
                        Pack<T, kPack>& sum) {
  const std::int64_t width = op.source.width, first = kAllHeads ? 0 : c / width;
  const std::int64_t last = kAllHeads ? op.heads : first + 1;
  for (std::int64_t h = first; h < last; ++h) {
    const std::int64_t column = kAllHeads ? c : c - h * width;
    const Pack<S, kPack> values = pack_at<kPack>(op.source.block(row, h) + column);
    for (int p = 0; p < kPack; ++p) sum.value[p] += weights[h] * widen(values.value[p]);
  }
}

/// A thread has a pack of columns of an output row.
template <bool kAllHeads, class S, int kPack>
__global__ void head_sums(HeadSum<S> op) {
  using T = compute_type<S>;
  const std::int64_t i = row_of_thread();
  if (i >= op.rows) return;
  const RowIndex begin = op.lists.indptr[i], end = op.lists.indptr[i + 1];
  for (std::int64_t c = first_column<kPack>(); c < op.cols; c += column_step<kPack>()) {
    Pack<T, kPack> sum{};
#pragma unroll kInFlight
    for (RowIndex e = begin; e < end; ++e) {
      add_row<kAllHeads>(op, op.weights.edges + op.lists.edge(e) * op.heads, op.lists.rows[e], c,
                         sum);
    }
    if (i < op.own_rows) add_row<kAllHeads>(op, op.weights.own + i * op.heads, i, c, sum);
    Pack<S, kPack> result;
    for (int p = 0; p < kPack; ++p) result.value[p] = narrow<S>(sum.value[p]);
    pack_at<kPack>(op.output.row(i) + c) = result;
  }
}

template <bool kAllHeads, class S>
void launch_sums(const HeadSum<S>& op, const ConstMatrixView& source, const MatrixView& output,
                 const Queue& queue) {
  if (op.rows == 0 || op.cols == 0) return;
  // No pack crosses from one head's block to the next.
  const ConstMatrixView block{source.data, source.dtype, 1, op.source.width, op.source.width};
  dispatch_width<S>({block, source, output}, [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    const RowLaunch launch = over_rows(op.rows, op.cols / kPack);
    head_sums<kAllHeads, S, kPack><<<launch.grid, launch.block, 0, queue.raw()>>>(op);
    check_launch("head_sums");
  });
}

template <class T>
Logits<T> logits_of(const Attention& attention) {
  const bool drops = attention.dropout.probability > 0;
  return {.indptr = attention.indptr.data(),
          .columns = attention.columns.data(),
          .sources = rows_of<T>(attention.source_logits),
          .destinations = rows_of<T>(attention.destination_logits),
          .rows = attention.destination_logits.rows,
          .heads = attention.source_logits.cols,
          .negative_slope = static_cast<T>(attention.negative_slope),
          .key = attention.dropout.key,
          .threshold = drops ? attention.dropout.threshold() : 0,
          .scale = static_cast<T>(drops ? attention.dropout.scale() : 1),
          .nodes = attention.nodes.data()};
}

/// `cols`: of the rows that hold one block per head.
template <class S>
HeadRows<S> values_of(const Attention& attention, std::int64_t cols) {
  const std::int64_t width = cols / attention.source_logits.cols;
  GSPLIT_CHECK(attention.values.cols == cols || attention.values.cols == width);
  return {rows_of<S>(attention.values), width, attention.values.cols == cols ? width : 0};
}

void check_dtypes(const Attention& attention, DType rows) {
  GSPLIT_CHECK(attention.values.dtype == rows);
  GSPLIT_CHECK(attention.source_logits.dtype == compute_dtype(rows));
  GSPLIT_CHECK(attention.destination_logits.dtype == compute_dtype(rows));
}

template <class S>
void backward(const AttentionBackwardArgs& args, const Queue& queue) {
  using T = compute_type<S>;
  const Attention& attention = args.attention;
  const Logits<T> logits = logits_of<T>(attention);
  const std::int64_t heads = logits.heads, sources = args.source_logits_gradient.rows;
  const HeadRows<S> values = values_of<S>(attention, args.output_gradient.cols);
  const HeadRows<S> upstream{rows_of<S>(args.output_gradient), values.width, values.width};
  SlotBuffers<T> gradients(attention, heads, queue.memory), weights(attention, heads, queue.memory);
  if (logits.rows > 0) {
    coefficient_gradients<S><<<blocks_for(logits.rows * kWarp), kBlock, 0, queue.raw()>>>(
        logits, values, upstream, gradients.get());
    check_launch("coefficient_gradients");
    logit_gradients<T><<<blocks_for(logits.rows * heads * kWarp), kBlock, 0, queue.raw()>>>(
        logits, rows_of<T>(args.softmax), gradients.get(), weights.get(),
        rows_of<T>(args.destination_logits_gradient));
    check_launch("logit_gradients");
  }
  if (sources == 0) return;
  const Lists readers{args.inverse_indptr.data(), args.inverse_destinations.data(),
                      args.inverse_edges.data()};
  sum_slots<T><<<blocks_for(sources * heads), kBlock, 0, queue.raw()>>>(
      readers, gradients.get(), logits.rows, sources, heads,
      rows_of<T>(args.source_logits_gradient));
  check_launch("sum_slots");
  if (args.values_gradient.rows == 0) return;
  const HeadSum<S> sum{.lists = readers,
                       .weights = weights.get(),
                       .own_rows = logits.rows,
                       .source = upstream,
                       .output = rows_of<S>(args.values_gradient),
                       .rows = args.values_gradient.rows,
                       .cols = args.values_gradient.cols,
                       .heads = heads};
  if (values.step == 0) {
    launch_sums<true>(sum, args.output_gradient, args.values_gradient, queue);
  } else {
    launch_sums<false>(sum, args.output_gradient, args.values_gradient, queue);
  }
}

}  // namespace

void attention(const AttentionArgs& args, const Queue& queue) {
  check_dtypes(args.attention, args.output.dtype);
  if (args.output.rows == 0) return;
  dispatch_rows(args.output.dtype, [&](auto zero) {
    using S = decltype(zero);
    using T = compute_type<S>;
    const Logits<T> logits = logits_of<T>(args.attention);
    SlotBuffers<T> weights(args.attention, logits.heads, queue.memory);
    attention_softmax<T>
        <<<blocks_for(logits.rows * logits.heads * kWarp), kBlock, 0, queue.raw()>>>(
            logits, rows_of<T>(args.softmax), weights.get());
    check_launch("attention_softmax");
    const HeadSum<S> sum{.lists = {logits.indptr, logits.columns, nullptr},
                         .weights = weights.get(),
                         .own_rows = logits.rows,
                         .source = values_of<S>(args.attention, args.output.cols),
                         .output = rows_of<S>(args.output),
                         .rows = args.output.rows,
                         .cols = args.output.cols,
                         .heads = logits.heads};
    launch_sums<false>(sum, args.attention.values, args.output, queue);
  });
}

void attention_backward(const AttentionBackwardArgs& args, const Queue& queue) {
  check_dtypes(args.attention, args.output_gradient.dtype);
  dispatch_rows(args.output_gradient.dtype,
                [&](auto zero) { backward<decltype(zero)>(args, queue); });
}

}  // namespace gsplit::cuda
