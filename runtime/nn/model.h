// A stack of convolutions as PyG's BasicGNN builds it: conv, norm, activation, dropout, ..., conv.
// Forward and backward stand side by side; both are collective.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/nn/conv.h"
#include "runtime/nn/parameters.h"
#include "runtime/nn/push_pull.h"

namespace gsplit {

struct ModelOptions {
  std::string type = "sage";  ///< sage, gcn, gat or gin
  int num_layers = 2;
  std::int64_t in_width = 0;
  std::int64_t hidden_width = 256;
  std::int64_t out_width = 0;
  int heads = 4;  ///< GAT: hidden_width is that of all heads together, the last layer averages them
  double dropout = 0.5;
  double attention_dropout = 0;
  Order order = Order::kAuto;  ///< gin always sums first
  bool layer_norm = false;     ///< of every hidden layer's output, before its activation
  bool residual =
      false;  ///< adds a hidden layer's input to that output, where the widths are equal
  DType dtype = DType::kF32;  ///< of a training step's rows; weights are of compute_dtype()
  std::uint64_t seed = 0;
};

/// A mini-batch and whose rows it holds, in device memory.
struct ModelBatch {
  const MiniBatch& sample;
  std::span<const OriginalId> original_ids;  ///< (nodes of the sample), in row order
  DrawKey key;                               ///< seed and step
  bool training = true;                      ///< dropout
  PushPull* first_layer = nullptr;           ///< computes its sums; null: the worker itself does
  /// (num_sources of layer 0) where input rows are; empty: in the input matrix, all of them. What
  /// Model::matrix_rows() names is there in any case.
  std::span<const void* const> places = {};
};

/// What layer normalisation keeps for backward.
struct NormState {
  Matrix normalized;     ///< (rows, cols)
  Matrix inverse_sigma;  ///< (rows, 1)
};

/// What forward keeps for backward, by layer.
struct ForwardState {
  std::vector<ConvState> convs;
  std::vector<NormState> norms;  ///< empty without layer normalisation
};

class Model {
 public:
  /// `scales`: of the worker's own nodes, read by gcn alone; must outlive the model.
  Model(const ModelOptions& options, const GcnScales& scales, Backend& backend, Stream& stream);

  const ModelOptions& options() const { return options_; }
  ParameterSet& parameters() { return parameters_; }
  std::size_t num_layers() const { return convs_.size(); }
  Conv& conv(std::size_t layer) { return *convs_[layer]; }

  /// Whether the sampler must build the inverse of the input layer's block too.
  bool needs_input_inverse() const { return convs_.front()->needs_inverse(); }

  /// Of the input layer.
  MatrixRows matrix_rows() const;
  /// Whether the first layer reads whole input rows of its destinations beside its convolution.
  bool adds_input() const { return has_residual(0); }

  /// Logits of the batch's seeds, (seeds, out), of the weights' dtype. `input`: (num_sources of
  /// layer 0, in), own rows filled in; with a PushPull those of the destinations, where
  /// adds_input(), or none. Hidden rows are of its dtype.
  Matrix forward(const ModelBatch& batch, Matrix input, ForwardState& state, Context& context);
  /// Gradients of this worker's share of the loss into parameters().gradients(). `logits_gradient`:
  /// (seeds, out), of the weights' dtype.
  void backward(const ModelBatch& batch, Matrix logits_gradient, const ForwardState& state,
                Context& context);

  /// One layer without dropout, activation included, for full-neighbour inference. Writes `output`,
  /// (num_destinations, out of the layer).
  void infer_layer(std::size_t layer, const LayerBatch& batch, Matrix sources, MatrixView output,
                   Context& context);

 private:
  bool is_last(std::size_t layer) const { return layer + 1 == convs_.size(); }
  /// Weights of the normalisation after one layer: PyG's norms.N.weight and norms.N.bias.
  struct Norm {
    ParameterId weight;
    ParameterId shift;
  };

  bool has_norm(std::size_t layer) const { return options_.layer_norm && !is_last(layer); }
  bool has_residual(std::size_t layer) const;
  /// What follows a convolution that nothing is added to: no normalisation, no residual.
  std::optional<LayerEnd> layer_end(std::size_t layer, const LayerBatch& batch);
  /// Everything between a convolution and the next one, in place.
  void finish_layer(std::size_t layer, const LayerBatch& batch, const Matrix& residual,
                    MatrixView output, NormState& state, Context& context);
  Matrix copy_residual(std::size_t layer, const Block& block, const Matrix& sources,
                       Context& context);
  void norm_backward(std::size_t layer, const NormState& state, MatrixView gradient,
                     Context& context);
  LayerBatch layer_batch(const ModelBatch& batch, std::size_t layer) const;
  Activation activation(std::size_t layer) const;
  Dropout dropout(std::size_t layer, DrawKey key) const;

  ModelOptions options_;
  ParameterSet parameters_;
  std::vector<std::unique_ptr<Conv>> convs_;
  std::vector<Norm> norms_;
};

}  // namespace gsplit
