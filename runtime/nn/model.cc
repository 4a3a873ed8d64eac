#include "runtime/nn/model.h"

#include <utility>

namespace gsplit {
namespace {

std::unique_ptr<Conv> make_conv(const ModelOptions& model, std::size_t layer,
                                const ConvOptions& options, ParameterSet& parameters,
                                const NodeDegrees& degrees) {
  const std::string prefix = "convs." + std::to_string(layer);
  if (model.type == "sage") return make_sage_conv(parameters, prefix, options);
  if (model.type == "gcn") return make_gcn_conv(parameters, prefix, options, degrees);
  if (model.type == "gin") return make_gin_conv(parameters, prefix, options);
  GSPLIT_CHECK(model.type == "gat");
  return make_gat_conv(parameters, prefix, options);
}

}  // namespace

Model::Model(const ModelOptions& options, const NodeDegrees& degrees, Backend& backend,
             Stream& stream)
    : options_(options) {
  GSPLIT_CHECK(options.num_layers >= 1);
  const auto layers = static_cast<std::size_t>(options.num_layers);
  std::int64_t in = options.in_width;
  for (std::size_t l = 0; l < layers; ++l) {
    const bool last = l + 1 == layers;
    const std::int64_t out = last ? options.out_width : options.hidden_width;
    convs_.push_back(make_conv(options, l,
                               {.in = in,
                                .out = out,
                                .heads = options.heads,
                                .concat_heads = !last,
                                .attention_dropout = options.attention_dropout},
                               parameters_, degrees));
    in = out;
  }
  parameters_.allocate(backend, options.dtype, options.seed, stream);
}

Activation Model::activation(std::size_t layer) const {
  if (is_last(layer)) return Activation::kNone;
  return options_.type == "gat" ? Activation::kElu : Activation::kRelu;
}

Dropout Model::dropout(std::size_t layer, DrawKey key) const {
  if (is_last(layer)) return {};
  key.purpose = Purpose::kDropout;
  key.layer = static_cast<std::uint32_t>(layer + 1);
  return {options_.dropout, key};
}

LayerBatch Model::layer_batch(const ModelBatch& batch, std::size_t layer) const {
  const SampledLayer& sampled = batch.sample.layers[layer];
  DrawKey key = batch.key;
  key.layer = static_cast<std::uint32_t>(layer + 1);
  return {.sampled = sampled,
          .nodes = batch.sample.nodes.span().first(sampled.block.num_own),
          .original_ids = batch.original_ids.first(sampled.block.num_own),
          .key = key};
}

Matrix Model::forward(const ModelBatch& batch, Matrix input, ForwardState& state,
                      Context& context) {
  state.convs.resize(convs_.size());
  for (std::size_t l = 0; l < convs_.size(); ++l) {
    // A layer's output rows are the next layer's own source rows: it writes there, room for
    // received rows follows.
    const RowIndex own = batch.sample.layers[l].block.num_destinations;
    const RowIndex rows = is_last(l) ? own : batch.sample.layers[l + 1].block.num_sources();
    Matrix next(context.memory(), options_.dtype, rows, convs_[l]->out_width());
    const MatrixView output = next.view().slice(0, own);
    convs_[l]->forward(layer_batch(batch, l), std::move(input), output, state.convs[l], context);
    context.backend.dense().bias_activation_dropout({.values = output,
                                                     .bias = parameters_.value(convs_[l]->bias()),
                                                     .activation = activation(l),
                                                     .dropout = dropout(l, batch.key),
                                                     .nodes = batch.original_ids.first(own)},
                                                    context.stream);
    input = std::move(next);
  }
  return input;
}

void Model::backward(const ModelBatch& batch, Matrix logits_gradient, const ForwardState& state,
                     Context& context) {
  Matrix gradient = std::move(logits_gradient);
  for (std::size_t l = convs_.size(); l-- > 0;) {
    const RowIndex own = batch.sample.layers[l].block.num_destinations;
    const MatrixView output_gradient = gradient.view().slice(0, own);
    if (!is_last(l)) {
      context.backend.dense().activation_dropout_backward(
          {.gradient = output_gradient,
           .output = state.convs[l + 1].sources.view().slice(0, own),
           .activation = activation(l),
           .dropout = dropout(l, batch.key),
           .nodes = batch.original_ids.first(own)},
          context.stream);
    }
    context.backend.dense().sum_rows({output_gradient, parameters_.gradient(convs_[l]->bias())},
                                     context.stream);
    Matrix source_gradient;
    convs_[l]->backward(layer_batch(batch, l), state.convs[l], output_gradient,
                        l > 0 ? &source_gradient : nullptr, context);
    gradient = std::move(source_gradient);
  }
}

void Model::infer_layer(std::size_t layer, const LayerBatch& batch, Matrix sources,
                        MatrixView output, Context& context) {
  ConvState state;
  convs_[layer]->forward(batch, std::move(sources), output, state, context);
  context.backend.dense().bias_activation_dropout({.values = output,
                                                   .bias = parameters_.value(convs_[layer]->bias()),
                                                   .activation = activation(layer)},
                                                  context.stream);
}

}  // namespace gsplit
