// A stack of convolutions as PyG's BasicGNN builds it: conv, activation, dropout, ..., conv.
// Forward and backward stand side by side; both are collective.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/nn/conv.h"
#include "runtime/nn/parameters.h"

namespace gsplit {

struct ModelOptions {
  std::string type = "sage";
  int num_layers = 2;
  std::int64_t in_width = 0;
  std::int64_t hidden_width = 256;
  std::int64_t out_width = 0;
  double dropout = 0.5;
  DType dtype = DType::kF32;
  std::uint64_t seed = 0;
};

/// What forward keeps for backward, by layer.
struct ForwardState {
  std::vector<ConvState> convs;
  DrawKey dropout_key;
};

class Model {
 public:
  Model(const ModelOptions& options, Backend& backend, Stream& stream);

  const ModelOptions& options() const { return options_; }
  ParameterSet& parameters() { return parameters_; }
  std::size_t num_layers() const { return convs_.size(); }
  Conv& conv(std::size_t layer) { return *convs_[layer]; }

  /// Logits of the batch's seeds, (seeds, out). `input`: (num_sources of layer 0, in), own rows
  /// filled in. `original_ids`: (nodes of the batch), in row order. `dropout_key`: seed and step.
  Matrix forward(const MiniBatch& batch, Matrix input, std::span<const OriginalId> original_ids,
                 const DrawKey& dropout_key, ForwardState& state, Context& context);
  /// Gradients of this worker's share of the loss into parameters().gradients(). `logits_gradient`:
  /// (seeds, out).
  void backward(const MiniBatch& batch, Matrix logits_gradient, const ForwardState& state,
                std::span<const OriginalId> original_ids, Context& context);

  /// One layer without dropout, activation included, for full-neighbour inference. Writes `output`,
  /// (num_destinations, out of the layer).
  void infer_layer(std::size_t layer, const SampledLayer& sampled, Matrix sources,
                   MatrixView output, Context& context);

 private:
  bool is_last(std::size_t layer) const { return layer + 1 == convs_.size(); }
  Activation activation(std::size_t layer) const;
  Dropout dropout(std::size_t layer, DrawKey key) const;

  ModelOptions options_;
  ParameterSet parameters_;
  std::vector<std::unique_ptr<Conv>> convs_;
};

}  // namespace gsplit
