// Fifth of the five backend interfaces: parameter updates, in place, over flat parameter vectors.
#pragma once

#include <cstdint>

#include "kernels/matrix.h"

namespace gsplit {

/// One step of Adam (D. Kingma and J. Ba, arXiv 1412.6980) as PyTorch computes it, element by
/// element: g += weight_decay * w; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr / (1 -
/// b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps). All views are (1, n) of one dtype.
struct AdamArgs {
  MatrixView parameters;
  ConstMatrixView gradients;
  MatrixView first_moment;
  MatrixView second_moment;
  std::int64_t step = 1;  ///< t, from 1
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< L2, added to the gradient
};

class OptimizerOps {
 public:
  virtual ~OptimizerOps() = default;
  virtual void adam(const AdamArgs& args, Stream& stream) = 0;
};

}  // namespace gsplit
