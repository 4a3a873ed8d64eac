// Ops that do a layer in one pass over its rows, so that a chunk of rows is used again while it is
// in a cache. Backend composes them of the others where a device has nothing better.
#pragma once

#include <array>

#include "kernels/dense.h"
#include "kernels/sparse.h"

namespace gsplit {

/// sums.destination = aggregate(sums); end.values (with `accumulate` +)= sums.destination *
/// weight^T
/// + own * own_weight^T, then, where `ends`, dropout(activation(... + bias)) of `end`. Overwrites
/// the sums.
struct AggregateLinearArgs {
  AggregateArgs sums;
  ConstMatrixView weight;         ///< (out, columns of the sums)
  ConstMatrixView own;            ///< (destinations, in); no rows: without this term
  ConstMatrixView own_weight;     ///< (out, in)
  BiasActivationDropoutArgs end;  ///< values: (destinations, out), of the rows' dtype or computed
  bool ends = false;
  bool accumulate = false;
};

/// gradient = output_gradient^T * input.
struct WeightGradient {
  ConstMatrixView input;  ///< (rows, in)
  MatrixView gradient;    ///< (out, in), computed
};

/// The gradients of a layer's weights: first end.gradient, (rows, out), goes in for the layer's
/// output and comes out for the sum of products; then bias_gradient = its sum over rows, and the
/// weights'. Overwrites.
struct LayerGradientsArgs {
  ActivationDropoutBackwardArgs end;
  MatrixView bias_gradient;               ///< (1, out), computed
  std::array<WeightGradient, 2> weights;  ///< one without a gradient is left out
};

}  // namespace gsplit
