// Third of the five backend interfaces: ops that read or write rows by index.
//
// All sums run in a fixed order (a row's neighbours in stored order, peers in rank order), without
// atomics: equal inputs give equal bits for any number of threads. Spans point to device memory.
//
// Matrices of one call share their dtype, that of rows (fp32, fp64 or bf16), unless said otherwise.
// Where rows are bf16, sums and products are fp32 and an op rounds once, to the nearest and ties to
// the even, when it writes bf16. "Computed" names compute_dtype(rows): fp32 beside bf16, else the
// rows' own.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "kernels/attention.h"
#include "kernels/base/ids.h"
#include "kernels/matrix.h"

namespace gsplit {

/// destination[i] = source[rows[i]]. The dtypes may differ: from any storage type (fp16 too) to
/// that of rows, exactly where it is wider and rounded to bf16 (fp64 to fp32 first).
struct GatherRowsArgs {
  ConstMatrixView source;
  std::span<const RowIndex> rows;
  MatrixView destination;  ///< (rows.size(), source.cols)
};

/// In RowCache::slots: the cache has no copy of the row.
inline constexpr RowIndex kNoSlot = 0xFFFFFFFFu;

/// Copies of some rows of a matrix, where they are read sooner.
struct RowCache {
  ConstMatrixView rows;             ///< (slots, cols), of the matrix's dtype
  std::span<const RowIndex> slots;  ///< (rows of the matrix) the slot of each, or kNoSlot
};

/// gather_rows from a matrix that has a cache: a row is read there if it can be. The result is the
/// same.
///
/// With `places` the cached ones of the rows from `first_placed` on are not copied, since who reads
/// the result by them reads the cache: places[i] becomes the address of row i, there or in
/// `destination`. There may be more places than rows; those are of the rows behind the
/// destination's last. REQUIRES: the dtypes are equal.
struct GatherCachedRowsArgs {
  GatherRowsArgs gather;
  RowCache cache;
  std::span<std::uint64_t> hits = {};  ///< (1) the number of rows read there is added; or empty
  std::span<const void*> places = {};
  std::int64_t first_placed = 0;
};

/// Rows that lie anywhere. An address has the alignment that rows have which follow each other from
/// a multiple of 16 bytes: of the largest power of two, 16 at most, that divides a row's bytes.
struct RowPlaces {
  std::span<const void* const> rows = {};  ///< the address of each; empty: they are in the matrix
  /// Of the first rows, the others' are 1: they count as if scale_rows had multiplied them.
  std::span<const double> factors = {};

  bool empty() const { return rows.empty(); }
};

/// destination[i] = the row at places[rows[i]], of the destination's dtype and width.
struct GatherPlacedRowsArgs {
  std::span<const void* const> places;
  std::span<const RowIndex> rows;
  MatrixView destination;
};

/// destination = source, of equal shape: fp32 or fp64 to bf16 (rounded to the nearest, ties to the
/// even; fp64 to fp32 first), or bf16 to fp32 or fp64, exactly.
struct ConvertRowsArgs {
  ConstMatrixView source;
  MatrixView destination;
};

/// destination[rows[i]] += source[i], added in fp32 where rows are bf16. REQUIRES: rows are
/// distinct.
struct AddRowsArgs {
  ConstMatrixView source;  ///< (rows.size(), cols)
  std::span<const RowIndex> rows;
  MatrixView destination;
};

/// matrix[i] *= factors[i], in place.
struct ScaleRowsArgs {
  MatrixView matrix;
  std::span<const double> factors;  ///< (rows)
};

enum class Reduce : std::uint8_t { kSum, kMean };

/// How the rows of a block are weighted. The spans are empty or (destinations).
struct AggregateOptions {
  Reduce reduce = Reduce::kMean;
  std::span<const double> row_scale;   ///< further factor of a destination's sum; empty: 1
  std::span<const double> self_scale;  ///< weight of the destination's own row, source[i]; empty: 0
  bool skip_loops = false;             ///< leave out the edges (i, i)
};

/// Rows [begin, end).
struct RowRange {
  RowIndex begin = 0;
  RowIndex end = std::numeric_limits<RowIndex>::max();

  bool is_all() const { return begin == 0 && end == std::numeric_limits<RowIndex>::max(); }
};

/// destination[i] = row_scale[i] * reduce over e in row i of edge_weights[e] * source[columns[e]] +
/// self_scale[i] * source[i]; the reduction of an empty row is 0. A mean divides by the row's
/// length, loops included, whatever the weights. Overwrites. With `places` the source's rows are
/// there, and of `source` nothing but the shape is looked at.
///
/// A sum may be made in two parts, the first of them before all sources are there: one call with
/// the first range as `only`, kSum and no scales, whose destination is the other's `before`. The
/// order of the additions is then by part.
struct AggregateArgs {
  std::span<const RowIndex> indptr;   ///< (destinations + 1)
  std::span<const RowIndex> columns;  ///< (edges), rows of `source`
  ConstMatrixView source;             ///< (sources, cols)
  MatrixView destination;             ///< (destinations, cols)
  AggregateOptions options;
  std::span<const float> edge_weights = {};  ///< (edges); empty: 1
  RowRange only = {};                        ///< sources outside are left out, and not read
  ConstMatrixView before = {};  ///< as destination: added to the sums that are scaled; no rows: 0
  RowPlaces places = {};
};

/// Gradient of AggregateArgs with respect to its source, as a segment reduction over the inverse
/// CSR. Overwrites.
struct AggregateBackwardArgs {
  std::span<const RowIndex> indptr;                ///< of the forward CSR, for row lengths
  std::span<const RowIndex> inverse_indptr;        ///< (sources + 1)
  std::span<const RowIndex> inverse_destinations;  ///< (edges)
  ConstMatrixView destination_gradient;            ///< (destinations, cols)
  MatrixView source_gradient;                      ///< (sources, cols)
  AggregateOptions options;
  std::span<const float> edge_weights = {};      ///< as forward's
  std::span<const RowIndex> inverse_edges = {};  ///< (edges), read where there are edge_weights
  /// `source_gradient` and `inverse_indptr` are those of some consecutive sources. Those that are
  /// no destinations have neither a self_scale nor loops to skip.
  bool some_sources = false;
};

class SparseOps {
 public:
  virtual ~SparseOps() = default;
  virtual void gather_rows(const GatherRowsArgs& args, Stream& stream) = 0;
  virtual void gather_cached_rows(const GatherCachedRowsArgs& args, Stream& stream) = 0;
  virtual void gather_placed_rows(const GatherPlacedRowsArgs& args, Stream& stream) = 0;
  virtual void convert_rows(const ConvertRowsArgs& args, Stream& stream) = 0;
  virtual void add_rows(const AddRowsArgs& args, Stream& stream) = 0;
  virtual void scale_rows(const ScaleRowsArgs& args, Stream& stream) = 0;
  virtual void aggregate(const AggregateArgs& args, Stream& stream) = 0;
  /// Whether it sums in parts as fast as in one: else `only`, `before` and `some_sources` are for
  /// nothing.
  virtual bool sums_in_parts() const { return true; }
  virtual void aggregate_backward(const AggregateBackwardArgs& args, Stream& stream) = 0;
  virtual void head_dots(const HeadDotsArgs& args, Stream& stream) = 0;
  virtual void head_dots_backward(const HeadDotsBackwardArgs& args, Stream& stream) = 0;
  virtual void mean_heads(const MeanHeadsArgs& args, Stream& stream) = 0;
  virtual void mean_heads_backward(const MeanHeadsBackwardArgs& args, Stream& stream) = 0;
  virtual void attention(const AttentionArgs& args, Stream& stream) = 0;
  virtual void attention_backward(const AttentionBackwardArgs& args, Stream& stream) = 0;
};

}  // namespace gsplit
