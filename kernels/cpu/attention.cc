// Softmax attention over a block: one pass over the destinations forward; backward a pass over the
// destinations that leaves each edge its coefficient and the gradient of its logit, and one over
// the sources that collects them.
#include <cmath>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 64;  // rows per chunk

/// What one head sees of one destination. Position k < length is edge k, position `length` the
/// destination itself.
template <class T>
class Row {
 public:
  Row(const Attention& attention, std::size_t i)
      : attention_(attention),
        i_(i),
        begin_(attention.indptr[i]),
        length_(attention.indptr[i + 1] - begin_),
        heads_(attention.source_logits.cols) {}

  std::size_t positions() const { return length_ + 1u; }
  bool takes_part(std::size_t k) const { return k == length_ || source(k) != i_; }
  std::size_t source(std::size_t k) const {
    return k == length_ ? i_ : attention_.columns[begin_ + k];
  }
  /// Before the leaky ReLU.
  T raw_logit(std::size_t k, std::int64_t h) const {
    return attention_.source_logits.row<T>(static_cast<std::int64_t>(source(k)))[h] +
           attention_.destination_logits.row<T>(static_cast<std::int64_t>(i_))[h];
  }
  T slope(T raw) const { return raw > T{0} ? T{1} : static_cast<T>(attention_.negative_slope); }
  T logit(std::size_t k, std::int64_t h) const {
    const T raw = raw_logit(k, h);
    return raw * slope(raw);
  }
  /// 0 where the coefficient is dropped, else the scale of what is kept.
  T kept(std::size_t k, std::int64_t h) const {
    const Dropout& dropout = attention_.dropout;
    if (dropout.probability == 0) return T{1};
    const std::uint64_t draw_number =
        k * static_cast<std::uint64_t>(heads_) + static_cast<std::uint64_t>(h);
    const std::uint32_t bits =
        kept_columns(dropout.key, dropout.threshold(), attention_.nodes[i_],
                     static_cast<std::uint32_t>(draw_number / kDropoutColumnsPerBlock));
    const bool keep = ((bits >> (draw_number % kDropoutColumnsPerBlock)) & 1u) != 0;
    return keep ? static_cast<T>(dropout.scale()) : T{0};
  }
  const T* values(std::size_t k, std::int64_t h, std::int64_t width) const {
    return attention_.values.row<T>(static_cast<std::int64_t>(source(k))) + h * width;
  }

 private:
  const Attention& attention_;
  std::size_t i_;
  std::size_t begin_;
  std::size_t length_;
  std::int64_t heads_;
};

template <class T>
struct Softmax {
  T largest;
  T sum;
  T coefficient(T logit) const { return std::exp(logit - largest) / sum; }
};

template <class T>
Softmax<T> softmax_of(const Row<T>& row, std::int64_t h) {
  T largest = row.logit(row.positions() - 1, h);
  for (std::size_t k = 0; k + 1 < row.positions(); ++k) {
    if (row.takes_part(k)) largest = std::max(largest, row.logit(k, h));
  }
  T sum{0};
  for (std::size_t k = 0; k < row.positions(); ++k) {
    if (row.takes_part(k)) sum += std::exp(row.logit(k, h) - largest);
  }
  return {largest, sum};
}

template <class T>
void attend(const AttentionArgs& args, std::int64_t i) {
  const Row<T> row(args.attention, static_cast<std::size_t>(i));
  const std::int64_t heads = args.attention.source_logits.cols;
  const std::int64_t width = args.attention.values.cols / heads;
  for (std::int64_t h = 0; h < heads; ++h) {
    const Softmax<T> softmax = softmax_of(row, h);
    args.softmax.row<T>(i)[2 * h] = softmax.largest;
    args.softmax.row<T>(i)[2 * h + 1] = softmax.sum;
    T* const out = args.output.row<T>(i) + h * width;
    std::fill_n(out, width, T{0});
    for (std::size_t k = 0; k < row.positions(); ++k) {
      if (!row.takes_part(k)) continue;
      const T weight = softmax.coefficient(row.logit(k, h)) * row.kept(k, h);
      const T* const from = row.values(k, h, width);
      for (std::int64_t c = 0; c < width; ++c) out[c] += weight * from[c];
    }
  }
}

/// What the first backward pass leaves for the second: (edges, heads) and, for the destinations
/// themselves, (destinations, heads).
template <class T>
struct EdgeGradients {
  Buffer<T> weight, logit;
  Buffer<T> own_weight, own_logit;
  EdgeGradients(Memory& memory, std::size_t edges, std::size_t destinations, std::size_t heads)
      : weight(memory, edges * heads),
        logit(memory, edges * heads),
        own_weight(memory, destinations * heads),
        own_logit(memory, destinations * heads) {}
};

template <class T>
T dot(const T* a, const T* b, std::int64_t width) {
  T sum{0};
  for (std::int64_t c = 0; c < width; ++c) sum += a[c] * b[c];
  return sum;
}

/// Pass 1 for destination i: weights and logit gradients of its edges, and its own logit gradient.
template <class T>
void backward_destination(const AttentionBackwardArgs& args, std::int64_t i,
                          EdgeGradients<T>& edges) {
  const Row<T> row(args.attention, static_cast<std::size_t>(i));
  const std::int64_t heads = args.attention.source_logits.cols;
  const std::int64_t width = args.attention.values.cols / heads;
  const std::size_t begin = args.attention.indptr[static_cast<std::size_t>(i)];
  for (std::int64_t h = 0; h < heads; ++h) {
    const Softmax<T> softmax{args.softmax.row<T>(i)[2 * h], args.softmax.row<T>(i)[2 * h + 1]};
    const T* const gradient = args.output_gradient.row<T>(i) + h * width;
    const auto slot = [&](std::size_t k, Buffer<T>& of_edges, Buffer<T>& of_own) -> T& {
      const bool own = k + 1 == row.positions();
      const std::size_t place = own ? static_cast<std::size_t>(i) : begin + k;
      return (own ? of_own : of_edges)
          .data()[place * static_cast<std::size_t>(heads) + static_cast<std::size_t>(h)];
    };
    // The gradient of a kept coefficient waits in the logit's slot until the row's mean is known.
    T mean{0};
    for (std::size_t k = 0; k < row.positions(); ++k) {
      T& weight = slot(k, edges.weight, edges.own_weight);
      T& logit = slot(k, edges.logit, edges.own_logit);
      weight = logit = T{0};
      if (!row.takes_part(k)) continue;
      const T coefficient = softmax.coefficient(row.logit(k, h)), kept = row.kept(k, h);
      weight = coefficient * kept;
      logit = kept * dot(gradient, row.values(k, h, width), width);
      mean += coefficient * logit;
    }
    T total{0};
    for (std::size_t k = 0; k < row.positions(); ++k) {
      if (!row.takes_part(k)) continue;
      T& logit = slot(k, edges.logit, edges.own_logit);
      const T raw = row.raw_logit(k, h);
      logit = softmax.coefficient(raw * row.slope(raw)) * (logit - mean) * row.slope(raw);
      total += logit;
    }
    args.destination_logits_gradient.row<T>(i)[h] = total;
  }
}

/// Pass 2 for source j: collects from the edges that read it, then from itself as a destination.
template <class T>
void backward_source(const AttentionBackwardArgs& args, std::int64_t j,
                     const EdgeGradients<T>& edges) {
  const std::int64_t heads = args.attention.source_logits.cols;
  const std::int64_t width = args.attention.values.cols / heads;
  T* const values = args.values_gradient.row<T>(j);
  T* const logits = args.source_logits_gradient.row<T>(j);
  std::fill_n(values, heads * width, T{0});
  std::fill_n(logits, heads, T{0});
  const auto add = [&](std::int64_t i, const T* weight, const T* logit) {
    const T* const gradient = args.output_gradient.row<T>(i);
    for (std::int64_t h = 0; h < heads; ++h) {
      logits[h] += logit[h];
      for (std::int64_t c = h * width; c < (h + 1) * width; ++c)
        values[c] += weight[h] * gradient[c];
    }
  };
  for (auto e = args.inverse_indptr[static_cast<std::size_t>(j)];
       e < args.inverse_indptr[static_cast<std::size_t>(j) + 1]; ++e) {
    const auto place = static_cast<std::int64_t>(args.inverse_edges[e]) * heads;
    add(args.inverse_destinations[e], edges.weight.data() + place, edges.logit.data() + place);
  }
  if (j < args.output_gradient.rows) {
    add(j, edges.own_weight.data() + j * heads, edges.own_logit.data() + j * heads);
  }
}

template <class F>
void for_each_row(const Team& team, std::int64_t rows, F&& body) {
  for_ranges(team, rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace

void attention(const AttentionArgs& args, const Team& team) {
  dispatch_compute(args.output.dtype, [&](auto type) {
    for_each_row(team, args.output.rows, [&](std::int64_t i) { attend<decltype(type)>(args, i); });
  });
}

void attention_backward(const AttentionBackwardArgs& args, Memory& memory, const Team& team) {
  dispatch_compute(args.values_gradient.dtype, [&](auto type) {
    using T = decltype(type);
    EdgeGradients<T> edges(memory, args.attention.columns.size(),
                           static_cast<std::size_t>(args.output_gradient.rows),
                           static_cast<std::size_t>(args.attention.source_logits.cols));
    for_each_row(team, args.output_gradient.rows,
                 [&](std::int64_t i) { backward_destination<T>(args, i, edges); });
    for_each_row(team, args.values_gradient.rows,
                 [&](std::int64_t j) { backward_source<T>(args, j, edges); });
  });
}

}  // namespace gsplit::cpu
