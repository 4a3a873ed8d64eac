// Fifth of the five backend interfaces: parameter updates, in place, over flat parameter vectors.
#pragma once

#include <cstdint>

#include "kernels/matrix.h"

namespace gsplit {

/// One step of Adam (D. Kingma and J. Ba, arXiv 1412.6980) as PyTorch computes it, element by
/// element: g += weight_decay * w; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr / (1 -
/// b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps). With `decoupled` it is AdamW (I. Loshchilov and F.
/// Hutter, arXiv 1711.05101): the decay is w -= lr * weight_decay * w instead, before the step. All
/// views are (1, n) of one dtype.
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
  double weight_decay = 0;
  bool decoupled = false;
};

/// One step of gradient descent with heavy-ball momentum as PyTorch's SGD computes it: g +=
/// weight_decay * w; velocity = momentum * velocity + g; w -= lr * velocity. All views are (1, n)
/// of one dtype; the velocity starts as 0, and is not touched where momentum is 0.
struct SgdArgs {
  MatrixView parameters;
  ConstMatrixView gradients;
  MatrixView velocity;  ///< may be empty where momentum is 0
  double learning_rate = 1e-2;
  double momentum = 0;
  double weight_decay = 0;
};

class OptimizerOps {
 public:
  virtual ~OptimizerOps() = default;
  virtual void adam(const AdamArgs& args, Stream& stream) = 0;
  virtual void sgd(const SgdArgs& args, Stream& stream) = 0;
  /// Sum of squares in double, in chunks whose number depends on the size alone; not finite where
  /// an element is not. REQUIRES: rows lie without gaps. Waits for the stream: the sum is a host
  /// value.
  virtual double squared_norm(ConstMatrixView matrix, Stream& stream) = 0;
  /// matrix *= factor, in place. REQUIRES: rows lie without gaps.
  virtual void scale(MatrixView matrix, double factor, Stream& stream) = 0;
};

}  // namespace gsplit
