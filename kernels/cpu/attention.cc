// Softmax attention over a block: one pass over the destinations forward; backward a pass over the
// destinations that leaves each edge its coefficient and the gradient of its logit, and one over
// the sources that collects them.
#include <cmath>
#include <vector>

#include "kernels/cpu/drop.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/weighted_rows.h"
#include "kernels/cpu/work_row.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 64;  // rows per chunk
constexpr std::int64_t kAhead = 2;   // rows between asking for what one reads and reading it

/// Columns of one head and of the step from a head's values to the next one's.
struct HeadShape {
  std::int64_t heads;
  std::int64_t width;
  std::int64_t value_step;  // 0 where all heads read the same values
};

/// `cols`: of the rows that hold one block per head.
HeadShape shape_of(const Attention& attention, std::int64_t cols) {
  const std::int64_t heads = attention.source_logits.cols, width = cols / heads;
  GSPLIT_CHECK(attention.values.cols == cols || attention.values.cols == width);
  return {heads, width, attention.values.cols == cols ? width : 0};
}

/// Calls body(shape); with 4 heads, the usual number, compiled for it, so that loops over heads are
/// vectors and not branches.
template <class F>
GSPLIT_INLINE_BODY inline void with_known_heads(const HeadShape& shape, F&& body) {
  if (shape.heads == 4) {
    body(HeadShape{4, shape.width, shape.value_step});
  } else {
    body(shape);
  }
}

void check_dtypes(const Attention& attention, DType rows) {
  GSPLIT_CHECK(attention.values.dtype == rows);
  GSPLIT_CHECK(attention.source_logits.dtype == compute_dtype(rows));
  GSPLIT_CHECK(attention.destination_logits.dtype == compute_dtype(rows));
}

/// One destination and what it attends to. Position k below the row's length is edge k, the last
/// one is the destination itself; arrays over positions and heads hold (k, h) at k * heads + h.
/// Made once per chunk.
template <class S>
struct Row {
  using T = compute_type<S>;
  std::size_t positions = 0;
  std::vector<RowIndex> sources;  // (positions)
  std::vector<const S*> values;   // (positions)
  std::vector<T> slope;           // (positions, heads) derivative of the leaky ReLU
  std::vector<T> coefficient;     // (positions, heads); of loops 0
  std::vector<T> kept;            // (positions, heads): 0 where dropped, else the scale
  std::vector<T> weight;          // (positions, heads): coefficient * kept
  std::vector<T> gradient;        // (positions, heads)
  std::vector<T> of_head;         // (heads)

  void resize(std::size_t count, std::int64_t heads) {
    const std::size_t slots = count * static_cast<std::size_t>(heads);
    positions = count;
    of_head.resize(static_cast<std::size_t>(heads));
    if (sources.size() >= count) return;
    sources.resize(count);
    values.resize(count);
    for (std::vector<T>* array : {&slope, &coefficient, &kept, &weight, &gradient}) {
      array->resize(slots);
    }
  }
};

/// Sources, values and, in `coefficient`, the logits of destination i.
template <class S>
GSPLIT_INLINE_BODY inline void read_row(const Attention& attention, std::int64_t i,
                                        const HeadShape& shape, Row<S>& row) {
  using T = compute_type<S>;
  const std::size_t begin = attention.indptr[static_cast<std::size_t>(i)];
  const std::size_t length = attention.indptr[static_cast<std::size_t>(i) + 1] - begin;
  row.resize(length + 1, shape.heads);
  for (std::size_t k = 0; k < length; ++k) row.sources[k] = attention.columns[begin + k];
  row.sources[length] = static_cast<RowIndex>(i);
  const T* const own = attention.destination_logits.row<T>(i);
  const T slope = static_cast<T>(attention.negative_slope);
  for (std::size_t k = 0; k <= length; ++k) {
    row.values[k] = attention.values.row<S>(row.sources[k]);
    const T* const of_source = attention.source_logits.row<T>(row.sources[k]);
    const std::size_t place = k * static_cast<std::size_t>(shape.heads);
    T* const logit = row.coefficient.data() + place;
    T* const slopes = row.slope.data() + place;
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      const T raw = of_source[h] + own[h];
      slopes[h] = raw > T{0} ? T{1} : slope;
      logit[h] = raw * slopes[h];
    }
  }
}

/// Asks for what the destination that follows reads.
template <class S>
GSPLIT_INLINE_BODY inline void prefetch_sources(const Attention& attention, std::int64_t i,
                                                std::int64_t end) {
  if (i >= end) return;
  for (RowIndex e = attention.indptr[static_cast<std::size_t>(i)];
       e < attention.indptr[static_cast<std::size_t>(i) + 1]; ++e) {
    const RowIndex source = attention.columns[e];
    prefetch_row(attention.source_logits.row<compute_type<S>>(source),
                 attention.source_logits.cols);
    prefetch_row(attention.values.row<S>(source), attention.values.cols);
  }
}

/// Whether position k is an edge from the destination to itself, which is left out.
template <class S>
GSPLIT_INLINE_BODY inline bool is_loop(const Row<S>& row, std::size_t k) {
  return k + 1 < row.positions && row.sources[k] == row.sources[row.positions - 1];
}

/// largest[h] over the positions that take part.
template <class S, class T>
GSPLIT_INLINE_BODY inline void find_largest(const Row<S>& row, std::int64_t heads, T* largest) {
  const T* const own =
      row.coefficient.data() + static_cast<std::int64_t>(row.positions - 1) * heads;
  for (std::int64_t h = 0; h < heads; ++h) largest[h] = own[h];
  for (std::size_t k = 0; k + 1 < row.positions; ++k) {
    if (is_loop(row, k)) continue;
    const T* const logit = row.coefficient.data() + static_cast<std::int64_t>(k) * heads;
    for (std::int64_t h = 0; h < heads; ++h) largest[h] = std::max(largest[h], logit[h]);
  }
}

/// coefficient = exp(logit - largest), of loops 0.
template <class S, class T>
GSPLIT_INLINE_BODY inline void exponentiate(const T* largest, std::int64_t heads, Row<S>& row) {
  T* const all = row.coefficient.data();
  const auto positions = static_cast<std::int64_t>(row.positions);
  for (std::int64_t k = 0; k < positions; ++k) {
    const bool loop = is_loop(row, static_cast<std::size_t>(k));
    for (std::int64_t h = 0; h < heads; ++h) {
      all[k * heads + h] = loop ? T{0} : all[k * heads + h] - largest[h];
    }
  }
  for (std::int64_t slot = 0; slot < positions * heads; ++slot) {
    all[slot] = exp_not_positive(all[slot]);
  }
  for (std::int64_t k = 0; k + 1 < positions; ++k) {
    if (is_loop(row, static_cast<std::size_t>(k))) std::fill_n(all + k * heads, heads, T{0});
  }
}

/// sum[h] = sum over k of values(k, h).
template <class T>
GSPLIT_INLINE_BODY inline void sum_positions(const std::vector<T>& values, std::size_t positions,
                                             std::int64_t heads, T* sum) {
  for (std::int64_t h = 0; h < heads; ++h) sum[h] = T{0};
  for (std::int64_t k = 0; k < static_cast<std::int64_t>(positions); ++k) {
    for (std::int64_t h = 0; h < heads; ++h) {
      sum[h] += values[static_cast<std::size_t>(k * heads + h)];
    }
  }
}

/// From exponentials to coefficients, kept and weight.
template <class S, class T>
GSPLIT_INLINE_BODY inline void finish_weights(const Attention& attention, std::int64_t i,
                                              const T* sum, std::int64_t heads, Row<S>& row) {
  const auto positions = static_cast<std::int64_t>(row.positions), slots = positions * heads;
  T* const coefficient = row.coefficient.data();
  for (std::int64_t k = 0; k < positions; ++k) {
    for (std::int64_t h = 0; h < heads; ++h) coefficient[k * heads + h] /= sum[h];
  }
  std::fill_n(row.kept.data(), slots, T{1});
  if (attention.dropout.probability > 0) {
    drop(row.kept.data(), slots, attention.dropout, attention.nodes[static_cast<std::size_t>(i)]);
  }
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    const auto s = static_cast<std::size_t>(slot);
    row.weight[s] = coefficient[slot] * row.kept[s];
  }
}

template <class S>
GSPLIT_INLINE_BODY inline void attend(const AttentionArgs& args, std::int64_t i,
                                      const HeadShape& shape, Row<S>& row, WorkRow<S>& output) {
  using T = compute_type<S>;
  read_row(args.attention, i, shape, row);
  T* const softmax = args.softmax.row<T>(i);
  T* const largest = softmax;
  T* const sum = softmax + shape.heads;
  find_largest(row, shape.heads, largest);
  exponentiate(largest, shape.heads, row);
  sum_positions(row.coefficient, row.positions, shape.heads, sum);
  finish_weights(args.attention, i, sum, shape.heads, row);
  sum_rows_of<S>(
      {row.values.data(), row.weight.data(), row.positions, shape.heads, shape.value_step},
      shape.width, output.room(args.output.row<S>(i)));
  output.store(args.output.row<S>(i));
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

/// Copies the slots of destination i's edges, and its own, to their places.
template <class S, class T>
void keep(const std::vector<T>& slots, const Row<S>& row, std::size_t first_edge, std::int64_t i,
          std::int64_t heads, Buffer<T>& of_edges, Buffer<T>& of_own) {
  const std::int64_t edge_slots = static_cast<std::int64_t>(row.positions - 1) * heads;
  std::copy_n(slots.data(), edge_slots,
              of_edges.data() + static_cast<std::int64_t>(first_edge) * heads);
  std::copy_n(slots.data() + edge_slots, heads, of_own.data() + i * heads);
}

/// Pass 1 for destination i: weights and logit gradients of its edges, and its own logit gradient.
template <class S, class T>
GSPLIT_INLINE_BODY inline void backward_destination(const AttentionBackwardArgs& args,
                                                    std::int64_t i, const HeadShape& shape,
                                                    Row<S>& row, EdgeGradients<T>& edges) {
  const std::int64_t heads = shape.heads;
  const T* const largest = args.softmax.row<T>(i);
  read_row(args.attention, i, shape, row);
  exponentiate(largest, heads, row);
  finish_weights(args.attention, i, largest + heads, heads, row);
  const S* const upstream = args.output_gradient.row<S>(i);
  const auto slots = static_cast<std::int64_t>(row.positions) * heads;
  T* const gradient = row.gradient.data();
  for (std::size_t k = 0; k < row.positions; ++k) {
    dots_of(upstream, row.values[k], shape.value_step, shape.width, heads,
            gradient + static_cast<std::int64_t>(k) * heads);
  }
  // Of the coefficient, then of the logit: c (g - mean of g) by softmax's derivative.
  T* const mean = row.of_head.data();
  for (std::int64_t h = 0; h < heads; ++h) mean[h] = T{0};
  for (std::int64_t slot = 0; slot < slots; slot += heads) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto s = static_cast<std::size_t>(slot + h);
      gradient[s] *= row.kept[s];
      mean[h] += row.coefficient[s] * gradient[s];
    }
  }
  for (std::int64_t slot = 0; slot < slots; slot += heads) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto s = static_cast<std::size_t>(slot + h);
      gradient[s] = row.coefficient[s] * (gradient[s] - mean[h]) * row.slope[s];
    }
  }
  sum_positions(row.gradient, row.positions, heads, args.destination_logits_gradient.row<T>(i));
  const std::size_t first = args.attention.indptr[static_cast<std::size_t>(i)];
  keep(row.weight, row, first, i, heads, edges.weight, edges.own_weight);
  keep(row.gradient, row, first, i, heads, edges.logit, edges.own_logit);
}

/// The edges that read one source, and the source itself where it is a destination.
template <class S>
struct Readers {
  std::vector<const S*> upstream;       // per edge, or per edge and head
  std::vector<compute_type<S>> weight;  // (edges, heads)
};

/// Adds one reader: the destination i and what pass 1 left for the edge.
template <class S>
GSPLIT_INLINE_BODY inline void add_reader(const S* upstream, const compute_type<S>* weight,
                                          const HeadShape& shape, Readers<S>& readers) {
  if (shape.value_step != 0) {
    readers.upstream.push_back(upstream);
  } else {
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      readers.upstream.push_back(upstream + h * shape.width);
    }
  }
  readers.weight.insert(readers.weight.end(), weight, weight + shape.heads);
}

/// Asks for what the source that follows collects.
template <class S, class T>
GSPLIT_INLINE_BODY inline void prefetch_readers(const AttentionBackwardArgs& args, std::int64_t j,
                                                std::int64_t end, const HeadShape& shape,
                                                const EdgeGradients<T>& edges) {
  if (j >= end) return;
  for (auto e = args.inverse_indptr[static_cast<std::size_t>(j)];
       e < args.inverse_indptr[static_cast<std::size_t>(j) + 1]; ++e) {
    const auto place = static_cast<std::int64_t>(args.inverse_edges[e]) * shape.heads;
    prefetch_row(edges.logit.data() + place, shape.heads);
    if (args.values_gradient.rows == 0) continue;
    prefetch_row(edges.weight.data() + place, shape.heads);
    prefetch_row(args.output_gradient.row<S>(args.inverse_destinations[e]),
                 args.output_gradient.cols);
  }
}

/// Pass 2 for source j: collects from the edges that read it, then from itself as a destination.
template <class S, class T>
GSPLIT_INLINE_BODY inline void backward_source(const AttentionBackwardArgs& args, std::int64_t j,
                                               const HeadShape& shape, Readers<S>& readers,
                                               const EdgeGradients<T>& edges, WorkRow<S>& output) {
  const std::int64_t heads = shape.heads;
  const bool wants_values = args.values_gradient.rows > 0;
  T* const logits = args.source_logits_gradient.row<T>(j);
  for (std::int64_t h = 0; h < heads; ++h) logits[h] = T{0};
  readers.upstream.clear();
  readers.weight.clear();
  const auto add = [&](std::int64_t i, const T* weight, const T* logit) GSPLIT_INLINE_BODY {
    for (std::int64_t h = 0; h < heads; ++h) logits[h] += logit[h];
    if (wants_values) add_reader(args.output_gradient.row<S>(i), weight, shape, readers);
  };
  for (auto e = args.inverse_indptr[static_cast<std::size_t>(j)];
       e < args.inverse_indptr[static_cast<std::size_t>(j) + 1]; ++e) {
    const auto place = static_cast<std::int64_t>(args.inverse_edges[e]) * heads;
    add(args.inverse_destinations[e], edges.weight.data() + place, edges.logit.data() + place);
  }
  if (j < args.output_gradient.rows) {
    add(j, edges.own_weight.data() + j * heads, edges.own_logit.data() + j * heads);
  }
  if (!wants_values) return;
  const std::int64_t sums = shape.value_step != 0 ? heads : 1;
  S* const gradient = args.values_gradient.row<S>(j);
  sum_rows_of<S>({readers.upstream.data(), readers.weight.data(), readers.upstream.size(), sums,
                  shape.value_step},
                 shape.width, output.room(gradient));
  output.store(gradient);
}

}  // namespace

void attention(const AttentionArgs& args, const Team& team) {
  const HeadShape shape = shape_of(args.attention, args.output.cols);
  check_dtypes(args.attention, args.output.dtype);
  dispatch_rows(args.output.dtype, [&](auto type) {
    using S = decltype(type);
    for_ranges(team, args.output.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      Row<S> row;
      WorkRow<S> output(args.output.cols);
      with_best_instructions([&]() GSPLIT_INLINE_BODY {
        with_known_heads(shape, [&](const HeadShape& known) GSPLIT_INLINE_BODY {
          for (std::int64_t i = begin; i < end; ++i) {
            prefetch_sources<S>(args.attention, i + kAhead, end);
            attend(args, i, known, row, output);
          }
        });
      });
    });
  });
}

void attention_backward(const AttentionBackwardArgs& args, Memory& memory, const Team& team) {
  const HeadShape shape = shape_of(args.attention, args.output_gradient.cols);
  check_dtypes(args.attention, args.output_gradient.dtype);
  dispatch_rows(args.output_gradient.dtype, [&](auto type) {
    using S = decltype(type);
    EdgeGradients<compute_type<S>> edges(memory, args.attention.columns.size(),
                                         static_cast<std::size_t>(args.output_gradient.rows),
                                         static_cast<std::size_t>(shape.heads));
    for_ranges(team, args.output_gradient.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      Row<S> row;
      with_best_instructions([&]() GSPLIT_INLINE_BODY {
        with_known_heads(shape, [&](const HeadShape& known) GSPLIT_INLINE_BODY {
          for (std::int64_t i = begin; i < end; ++i) {
            prefetch_sources<S>(args.attention, i + kAhead, end);
            backward_destination(args, i, known, row, edges);
          }
        });
      });
    });
    for_ranges(team, args.source_logits_gradient.rows, kGrain,
               [&](std::int64_t begin, std::int64_t end) {
                 Readers<S> readers;
                 WorkRow<S> output(args.values_gradient.cols);
                 with_best_instructions([&]() GSPLIT_INLINE_BODY {
                   with_known_heads(shape, [&](const HeadShape& known) GSPLIT_INLINE_BODY {
                     for (std::int64_t j = begin; j < end; ++j) {
                       prefetch_readers<S>(args, j + kAhead, end, known, edges);
                       backward_source(args, j, known, readers, edges, output);
                     }
                   });
                 });
               });
  });
}

}  // namespace gsplit::cpu
