// Fourth of the five backend interfaces: ops on whole matrices.
//
// Reductions over rows use a number of chunks that depends on the row count only and combine them
// in order: equal inputs give equal bits for any number of threads. Spans point to device memory.
//
// dtypes as kernels/sparse.h says; losses and normalize_rows take computed types alone.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/base/dropout.h"
#include "kernels/base/ids.h"
#include "kernels/base/prediction_counts.h"
#include "kernels/matrix.h"

namespace gsplit {

/// c = op(a) * op(b), or c += op(a) * op(b) with `accumulate`; op transposes where asked. a and b
/// of one dtype, c of the same or computed (weight gradients, logits); accumulation is in fp32
/// where c is bf16.
struct GemmArgs {
  ConstMatrixView a;
  ConstMatrixView b;
  MatrixView c;
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;
};

/// sum[c] = sum over rows of matrix[r][c]. Overwrites.
struct SumRowsArgs {
  ConstMatrixView matrix;  ///< (rows, cols)
  MatrixView sum;          ///< (1, cols), computed
};

enum class Activation : std::uint8_t { kNone, kRelu, kElu };

/// values = dropout(activation(values + bias)), in place.
struct BiasActivationDropoutArgs {
  MatrixView values;     ///< (rows, cols)
  ConstMatrixView bias;  ///< (1, cols), computed, or empty
  Activation activation = Activation::kNone;
  Dropout dropout;
  std::span<const OriginalId>
      nodes;  ///< (rows), whose row it is; may be empty where probability is 0
};

/// gradient *= d activation-and-dropout, in place, from the saved output of the forward op.
struct ActivationDropoutBackwardArgs {
  MatrixView gradient;     ///< (rows, cols)
  ConstMatrixView output;  ///< (rows, cols)
  Activation activation = Activation::kNone;
  Dropout dropout;
  std::span<const OriginalId> nodes;

  /// Whether there is anything to do.
  bool changes() const { return activation != Activation::kNone || dropout.probability > 0; }
};

/// Layer normalisation of each row (J. Ba et al., arXiv 1607.06450), in place, after the bias of
/// the layer before: x = values + bias; n = (x - mean(x)) / sqrt(var(x) + epsilon); values = n *
/// weight + shift.
struct LayerNormArgs {
  MatrixView values;         ///< (rows, cols)
  ConstMatrixView bias;      ///< (1, cols), computed
  ConstMatrixView weight;    ///< (1, cols), computed
  ConstMatrixView shift;     ///< (1, cols), computed
  MatrixView normalized;     ///< (rows, cols) n, for backward
  MatrixView inverse_sigma;  ///< (rows, 1) 1 / sqrt(var + epsilon), computed, for backward
  double epsilon = 1e-5;
};

/// Gradients of LayerNormArgs: `gradient` goes in for the output and comes out for x. Overwrites
/// the others.
struct LayerNormBackwardArgs {
  MatrixView gradient;            ///< (rows, cols)
  ConstMatrixView normalized;     ///< (rows, cols)
  ConstMatrixView inverse_sigma;  ///< (rows, 1), computed
  ConstMatrixView weight;         ///< (1, cols), computed
  MatrixView weight_gradient;     ///< (1, cols), computed
  MatrixView shift_gradient;      ///< (1, cols), computed
};

/// PyG's NormalizeFeatures, in place: x = matrix - offset; matrix[i] = x[i] / max(sum(x[i]), 1).
/// With the smallest element of all rows as offset nothing is negative, and a row sums to 1 unless
/// its sum was below 1.
struct NormalizeRowsArgs {
  MatrixView matrix;
  double offset = 0;
};

/// destination += source, element by element.
struct AddArgs {
  ConstMatrixView source;
  MatrixView destination;
};

/// Softmax cross-entropy: sums the losses of the rows, w[label] * -log softmax(logits)[label] with
/// the class weights w, and, where `gradient` has rows, writes gradient = scale * w[label] *
/// (softmax(logits) - onehot(label)). The predicted class is the first of the largest logits.
struct CrossEntropyArgs {
  ConstMatrixView logits;                ///< (rows, classes)
  std::span<const std::int32_t> labels;  ///< (rows), in [0, classes)
  double scale = 1;
  MatrixView gradient;                    ///< as logits, or without rows
  std::span<const double> class_weights;  ///< (classes), not negative; empty: all 1
};

/// Binary cross-entropy of each class on its own, as torch.nn.BCEWithLogitsLoss: of logit x, label
/// y and positive weight w of the class, loss = w y softplus(-x) + (1 - y) softplus(x), where
/// softplus(x) = log(1 + exp(x)), computed without overflow. Sums the losses of rows and classes
/// and, where `gradient` has rows, writes gradient = scale * d loss / d x. Predicted are the
/// classes with x > 0.
struct BinaryCrossEntropyArgs {
  ConstMatrixView logits;                    ///< (rows, classes)
  std::span<const std::uint8_t> labels;      ///< (rows, classes), row by row, each 0 or 1
  std::span<const double> positive_weights;  ///< (classes), not negative; empty: all 1
  double scale = 1;
  MatrixView gradient;  ///< as logits, or without rows
};

struct LossSums {
  double loss = 0;  ///< sum, without `scale`
  PredictionCounts predictions;

  LossSums& operator+=(const LossSums& other) {
    loss += other.loss;
    predictions += other.predictions;
    return *this;
  }
};

class DenseOps {
 public:
  virtual ~DenseOps() = default;
  virtual void gemm(const GemmArgs& args, Stream& stream) = 0;
  virtual void sum_rows(const SumRowsArgs& args, Stream& stream) = 0;
  virtual void bias_activation_dropout(const BiasActivationDropoutArgs& args, Stream& stream) = 0;
  virtual void activation_dropout_backward(const ActivationDropoutBackwardArgs& args,
                                           Stream& stream) = 0;
  virtual void layer_norm(const LayerNormArgs& args, Stream& stream) = 0;
  virtual void layer_norm_backward(const LayerNormBackwardArgs& args, Stream& stream) = 0;
  virtual void add(const AddArgs& args, Stream& stream) = 0;
  virtual void normalize_rows(const NormalizeRowsArgs& args, Stream& stream) = 0;
  /// The smallest element, infinity where there is none; storage types are widened. Waits for the
  /// stream.
  virtual double smallest(ConstMatrixView matrix, Stream& stream) = 0;
  /// Both losses wait for the stream: the sums are host values.
  virtual LossSums cross_entropy(const CrossEntropyArgs& args, Stream& stream) = 0;
  virtual LossSums binary_cross_entropy(const BinaryCrossEntropyArgs& args, Stream& stream) = 0;
};

}  // namespace gsplit
