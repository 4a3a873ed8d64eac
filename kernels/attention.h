// Ops of graph attention (P. Velickovic et al., "Graph attention networks", arXiv 1710.10903). A
// row of `heads * width` columns holds one block of `width` per head. Part of SparseOps; the rules
// of kernels/sparse.h hold.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/base/dropout.h"
#include "kernels/base/ids.h"
#include "kernels/matrix.h"

namespace gsplit {

/// logits[i][h] = sum over c of values[i][h * width + c] * vector[h][c]. Overwrites.
struct HeadDotsArgs {
  ConstMatrixView values;  ///< (rows, heads * width)
  ConstMatrixView vector;  ///< (heads, width), computed
  MatrixView logits;       ///< (rows, heads), computed
};

/// Gradients of HeadDotsArgs: adds to values_gradient, and to vector_gradient the sum over rows, by
/// fixed chunks.
struct HeadDotsBackwardArgs {
  ConstMatrixView values;           ///< (rows, heads * width)
  ConstMatrixView vector;           ///< (heads, width), computed
  ConstMatrixView logits_gradient;  ///< (rows, heads), computed
  MatrixView values_gradient;       ///< (rows, heads * width)
  MatrixView vector_gradient;       ///< (heads, width), computed
};

/// output[i][c] = mean over heads of values[i][h * width + c]. Overwrites.
struct MeanHeadsArgs {
  ConstMatrixView values;  ///< (rows, heads * width)
  MatrixView output;       ///< (rows, width), of the rows' dtype or computed
};

/// values_gradient[i][h * width + c] = output_gradient[i][c] / heads. Overwrites.
struct MeanHeadsBackwardArgs {
  ConstMatrixView output_gradient;  ///< (rows, width)
  MatrixView values_gradient;       ///< (rows, heads * width)
};

/// Softmax over a destination i and its sources j of the logits leaky_relu(source_logits[j] +
/// destination_logits[i]), per head; i itself takes part once, edges (i, i) are left out. Attention
/// dropout drops the coefficient of edge k of a row (the destination itself comes after the last
/// edge) by draw k * heads + h of the destination, as in kernels/base/dropout.h.
struct Attention {
  std::span<const RowIndex> indptr;   ///< (destinations + 1)
  std::span<const RowIndex> columns;  ///< (edges)
  ConstMatrixView values;  ///< (sources, heads * width), or (sources, width), which all heads read
  ConstMatrixView source_logits;       ///< (sources, heads), computed
  ConstMatrixView destination_logits;  ///< (destinations, heads), computed
  Dropout dropout;
  std::span<const OriginalId> nodes;  ///< (destinations), where there is dropout
  double negative_slope = 0.2;
};

/// output[i] = sum over j of coefficient(i, j) * values[j], per head. Overwrites.
struct AttentionArgs {
  Attention attention;
  MatrixView output;   ///< (destinations, heads * width)
  MatrixView softmax;  ///< (destinations, 2 * heads), computed: each head's largest logit, then
                       ///< each head's sum of exp(logit - largest)
};

/// Gradients of AttentionArgs, coefficients recomputed from the saved maximum and sum. Overwrites.
/// Where all heads read the same values their gradients add up.
struct AttentionBackwardArgs {
  Attention attention;
  ConstMatrixView softmax;                         ///< computed
  ConstMatrixView output_gradient;                 ///< (destinations, heads * width)
  std::span<const RowIndex> inverse_indptr;        ///< (sources + 1)
  std::span<const RowIndex> inverse_destinations;  ///< (edges)
  std::span<const RowIndex> inverse_edges;         ///< (edges)
  MatrixView values_gradient;                      ///< as values, or without rows: not wanted
  MatrixView source_logits_gradient;               ///< (sources, heads), computed
  MatrixView destination_logits_gradient;          ///< (destinations, heads), computed
};

}  // namespace gsplit
