#include "runtime/nn/model.h"

#include <utility>

namespace gsplit {

Model::Model(const ModelOptions& options, Backend& backend, Stream& stream) : options_(options) {
  GSPLIT_CHECK(options.type == "sage" && options.num_layers >= 1);
  std::int64_t in = options.in_width;
  for (int l = 0; l < options.num_layers; ++l) {
    const std::int64_t out = l + 1 == options.num_layers ? options.out_width : options.hidden_width;
    convs_.push_back(make_sage_conv(parameters_, "convs." + std::to_string(l), in, out));
    in = out;
  }
  parameters_.allocate(backend, options.dtype, options.seed, stream);
}

Activation Model::activation(std::size_t layer) const {
  return is_last(layer) ? Activation::kNone : Activation::kRelu;
}

Dropout Model::dropout(std::size_t layer, DrawKey key) const {
  if (is_last(layer)) return {};
  key.purpose = Purpose::kDropout;
  key.layer = static_cast<std::uint32_t>(layer + 1);
  return {options_.dropout, key};
}

Matrix Model::forward(const MiniBatch& batch, Matrix input,
                      std::span<const OriginalId> original_ids, const DrawKey& dropout_key,
                      ForwardState& state, Context& context) {
  state.convs.resize(convs_.size());
  state.dropout_key = dropout_key;
  for (std::size_t l = 0; l < convs_.size(); ++l) {
    // A layer's output rows are the next layer's own source rows: it writes there, room for
    // received rows follows.
    const RowIndex own = batch.layers[l].block.num_destinations;
    const RowIndex rows = is_last(l) ? own : batch.layers[l + 1].block.num_sources();
    Matrix next(context.memory(), options_.dtype, rows, convs_[l]->out_width());
    const MatrixView output = next.view().slice(0, own);
    convs_[l]->forward(batch.layers[l], std::move(input), output, state.convs[l], context);
    context.backend.dense().bias_activation_dropout({.values = output,
                                                     .bias = convs_[l]->bias(),
                                                     .activation = activation(l),
                                                     .dropout = dropout(l, dropout_key),
                                                     .nodes = original_ids.first(own)},
                                                    context.stream);
    input = std::move(next);
  }
  return input;
}

void Model::backward(const MiniBatch& batch, Matrix logits_gradient, const ForwardState& state,
                     std::span<const OriginalId> original_ids, Context& context) {
  Matrix gradient = std::move(logits_gradient);
  for (std::size_t l = convs_.size(); l-- > 0;) {
    const RowIndex own = batch.layers[l].block.num_destinations;
    const MatrixView output_gradient = gradient.view().slice(0, own);
    if (!is_last(l)) {
      context.backend.dense().activation_dropout_backward(
          {.gradient = output_gradient,
           .output = state.convs[l + 1].sources.view().slice(0, own),
           .activation = activation(l),
           .dropout = dropout(l, state.dropout_key),
           .nodes = original_ids.first(own)},
          context.stream);
    }
    context.backend.dense().sum_rows({output_gradient, convs_[l]->bias_gradient()}, context.stream);
    Matrix source_gradient;
    convs_[l]->backward(batch.layers[l], state.convs[l], output_gradient,
                        l > 0 ? &source_gradient : nullptr, context);
    gradient = std::move(source_gradient);
  }
}

void Model::infer_layer(std::size_t layer, const SampledLayer& sampled, Matrix sources,
                        MatrixView output, Context& context) {
  ConvState state;
  convs_[layer]->forward(sampled, std::move(sources), output, state, context);
  context.backend.dense().bias_activation_dropout(
      {.values = output, .bias = convs_[layer]->bias(), .activation = activation(layer)},
      context.stream);
}

}  // namespace gsplit
