// The part that SAGE and GCN share: sum over neighbours j of c_ij W h_j, forward and backward, in
// either order.
#pragma once

#include "runtime/nn/conv.h"

namespace gsplit {

class NeighborSum {
 public:
  explicit NeighborSum(const ConvOptions& options) : options_(options) {}

  /// Whether backward may read the inverse of a block whose sources need no gradient.
  bool needs_inverse() const;

  /// Overwrites `output` (num_destinations, out). `sources` are moved into `state`, whose order and
  /// saved rows are set; the own ones are filled in. `weight`: (out, columns of the sources), as
  /// its gradient.
  void forward(const LayerBatch& batch, const AggregateOptions& coefficients, Matrix sources,
               ConstMatrixView weight, MatrixView output, ConvState& state, Context& context) const;
  /// Writes `weight_gradient` and, where `source_gradient` is not null, a matrix whose first
  /// num_own rows are this sum's gradients of the own source rows.
  void backward(const LayerBatch& batch, const AggregateOptions& coefficients,
                const ConvState& state, ConstMatrixView weight, ConstMatrixView output_gradient,
                MatrixView weight_gradient, Matrix* source_gradient, Context& context) const;

 private:
  ConvOptions options_;
};

}  // namespace gsplit
