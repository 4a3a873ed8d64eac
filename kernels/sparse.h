// Third of the five backend interfaces: ops that read or write rows by index.
//
// All sums run in a fixed order (a row's neighbours in stored order, peers in rank order), without
// atomics: equal inputs give equal bits for any number of threads. Spans point to device memory.
// Matrices of one call share their dtype unless said otherwise.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/base/ids.h"
#include "kernels/matrix.h"

namespace gsplit {

/// destination[i] = source[rows[i]]. The dtypes may differ: storage types are widened (fp16 -> fp32
/// or fp64, fp32 -> fp64).
struct GatherRowsArgs {
  ConstMatrixView source;
  std::span<const RowIndex> rows;
  MatrixView destination;  ///< (rows.size(), source.cols)
};

/// destination[rows[i]] += source[i]. REQUIRES: rows are distinct.
struct AddRowsArgs {
  ConstMatrixView source;  ///< (rows.size(), cols)
  std::span<const RowIndex> rows;
  MatrixView destination;
};

enum class Reduce : std::uint8_t { kSum, kMean };

/// destination[i] = reduce over e in row i of source[columns[e]]; 0 for an empty row. Overwrites.
struct AggregateArgs {
  std::span<const RowIndex> indptr;   ///< (destinations + 1)
  std::span<const RowIndex> columns;  ///< (edges), rows of `source`
  ConstMatrixView source;             ///< (sources, cols)
  MatrixView destination;             ///< (destinations, cols)
  Reduce reduce = Reduce::kMean;
};

/// Gradient of AggregateArgs with respect to its source, as a segment reduction over the inverse
/// CSR: source_gradient[j] = sum over the edges (i, j) of destination_gradient[i] * (kMean: 1 / row
/// length of i). Overwrites.
struct AggregateBackwardArgs {
  std::span<const RowIndex> indptr;                ///< of the forward CSR, for row lengths
  std::span<const RowIndex> inverse_indptr;        ///< (sources + 1)
  std::span<const RowIndex> inverse_destinations;  ///< (edges)
  ConstMatrixView destination_gradient;            ///< (destinations, cols)
  MatrixView source_gradient;                      ///< (sources, cols)
  Reduce reduce = Reduce::kMean;
};

class SparseOps {
 public:
  virtual ~SparseOps() = default;
  virtual void gather_rows(const GatherRowsArgs& args, Stream& stream) = 0;
  virtual void add_rows(const AddRowsArgs& args, Stream& stream) = 0;
  virtual void aggregate(const AggregateArgs& args, Stream& stream) = 0;
  virtual void aggregate_backward(const AggregateBackwardArgs& args, Stream& stream) = 0;
};

}  // namespace gsplit
