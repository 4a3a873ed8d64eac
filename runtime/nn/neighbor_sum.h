// The part that SAGE and GCN share: sum over neighbours j of c_ij W h_j, to which SAGE adds a
// product with the own row, forward and backward, in either order.
#pragma once

#include "runtime/nn/conv.h"
#include "runtime/nn/shuffle.h"

namespace gsplit {

/// The sum over own sources, while others are on their way: what AggregateArgs::before is. Copies
/// of others count as others, so that they change no bit. Undefined where the flight carries
/// nothing, or parts of a sum would be rounded or slower: then all sources are summed together.
/// `sums`: of all sources, as they will be.
class EarlySum {
 public:
  EarlySum(const Block& block, const AggregateArgs& sums, const RowFlight& flight,
           Context& context);
  /// Leaves to `sums` what is still to be added.
  void hand_over(AggregateArgs& sums) const;

 private:
  RowIndex num_owned_;
  Matrix sum_;
};

/// The gradients of a block's sources: those of received rows first, which go home while those of
/// the own ones are summed. `args`: of all sources. Collective.
void aggregate_backward(const SampledLayer& layer, const AggregateBackwardArgs& args,
                        Context& context);

/// W' of the term W' h_i for the destination's own row; (out, columns of the sources).
struct OwnTerm {
  ConstMatrixView weight;
  MatrixView gradient = {};  ///< backward
};

class NeighborSum {
 public:
  explicit NeighborSum(const ConvOptions& options) : options_(options) {}

  /// Whether backward may read the inverse of a block whose sources need no gradient.
  bool needs_inverse() const;
  /// `own`: whether there is a term for the destination's own row.
  MatrixRows matrix_rows(bool own) const;

  /// Overwrites `output` (num_destinations, out). `sources` are moved into `state`, whose order and
  /// saved rows are set; the own ones are filled in. `weight`: (out, columns of the sources), as
  /// its gradient. `own`: null for none. Where it sums first it does LayerBatch::end as well.
  void forward(const LayerBatch& batch, const AggregateOptions& coefficients, Matrix sources,
               ConstMatrixView weight, const OwnTerm* own, MatrixView output, ConvState& state,
               Context& context) const;
  /// Writes `weight_gradient`, the own term's and, where `source_gradient` is not null, a matrix
  /// whose first num_own rows are this sum's gradients of the own source rows, without those by way
  /// of the own term.
  void backward(const LayerBatch& batch, const AggregateOptions& coefficients,
                const ConvState& state, ConstMatrixView weight, const OwnTerm* own,
                ConstMatrixView output_gradient, MatrixView weight_gradient,
                Matrix* source_gradient, Context& context) const;

 private:
  /// Forward where rows are multiplied before they are summed.
  void transform(const LayerBatch& batch, const AggregateOptions& coefficients,
                 ConstMatrixView weight, MatrixView output, const ConvState& state,
                 Context& context) const;

  ConvOptions options_;
};

}  // namespace gsplit
