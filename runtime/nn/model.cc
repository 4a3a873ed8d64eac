#include "runtime/nn/model.h"

#include <utility>

namespace gsplit {
namespace {

std::unique_ptr<Conv> make_conv(const ModelOptions& model, std::size_t layer,
                                const ConvOptions& options, ParameterSet& parameters,
                                const GcnScales& scales) {
  const std::string prefix = "convs." + std::to_string(layer);
  if (model.type == "sage") return make_sage_conv(parameters, prefix, options);
  if (model.type == "gcn") return make_gcn_conv(parameters, prefix, options, scales);
  if (model.type == "gin") return make_gin_conv(parameters, prefix, options);
  GSPLIT_CHECK(model.type == "gat");
  return make_gat_conv(parameters, prefix, options);
}

}  // namespace

Model::Model(const ModelOptions& options, const GcnScales& scales, Backend& backend, Stream& stream)
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
                                .attention_dropout = options.attention_dropout,
                                .order = options.order,
                                .input_layer = l == 0},
                               parameters_, scales));
    if (options.layer_norm && !last) {
      const std::string prefix = "norms." + std::to_string(l);
      norms_.push_back({parameters_.add(prefix + ".weight", {out}, 0, 1),
                        parameters_.add(prefix + ".bias", {out}, 0)});
    }
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
          .key = key,
          .training = batch.training,
          .places = {layer == 0 ? batch.places : std::span<const void* const>{}}};
}

MatrixRows Model::matrix_rows() const {
  const MatrixRows rows = convs_.front()->matrix_rows();
  return rows == MatrixRows::kNone && has_residual(0) ? MatrixRows::kDestinations : rows;
}

bool Model::has_residual(std::size_t layer) const {
  return options_.residual && !is_last(layer) &&
         convs_[layer]->in_width() == convs_[layer]->out_width();
}

Matrix Model::copy_residual(std::size_t layer, const Block& block, const Matrix& sources,
                            Context& context) {
  if (!has_residual(layer)) return {};
  Matrix rows(context.memory(), sources.dtype(), block.num_destinations, sources.cols());
  context.memory().copy(rows.data(), sources.view().data, rows.bytes(), context.stream);
  return rows;
}

std::optional<LayerEnd> Model::layer_end(std::size_t layer, const LayerBatch& batch) {
  if (has_norm(layer) || has_residual(layer)) return std::nullopt;
  const ParameterId bias = convs_[layer]->bias();
  return LayerEnd{.bias = parameters_.value(bias),
                  .activation = activation(layer),
                  .dropout = batch.training ? dropout(layer, batch.key) : Dropout{},
                  .bias_gradient = parameters_.gradient(bias)};
}

void Model::finish_layer(std::size_t layer, const LayerBatch& batch, const Matrix& residual,
                         MatrixView output, NormState& state, Context& context) {
  DenseOps& dense = context.backend.dense();
  ConstMatrixView bias = parameters_.value(convs_[layer]->bias());
  if (has_norm(layer)) {
    state = {Matrix(context.memory(), output.dtype, output.rows, output.cols),
             Matrix(context.memory(), parameters_.dtype(), output.rows, 1)};
    dense.layer_norm({.values = output,
                      .bias = bias,
                      .weight = parameters_.value(norms_[layer].weight),
                      .shift = parameters_.value(norms_[layer].shift),
                      .normalized = state.normalized.view(),
                      .inverse_sigma = state.inverse_sigma.view()},
                     context.stream);
    bias = {};
  }
  if (has_residual(layer)) dense.add({residual.view(), output}, context.stream);
  dense.bias_activation_dropout(
      {.values = output,
       .bias = bias,
       .activation = activation(layer),
       .dropout = batch.training ? dropout(layer, batch.key) : Dropout{},
       .nodes = batch.original_ids.first(static_cast<std::size_t>(output.rows))},
      context.stream);
}

Matrix Model::forward(const ModelBatch& batch, Matrix input, ForwardState& state,
                      Context& context) {
  state.convs.resize(convs_.size());
  state.norms.resize(convs_.size());
  const DType rows_type = input.dtype();
  if (rows_type == DType::kBF16) parameters_.round_operands();
  for (std::size_t l = 0; l < convs_.size(); ++l) {
    const LayerScope scope(context, "forward", l, convs_[l]->in_width());
    // A layer's output rows are the next layer's own source rows: it writes there, room for
    // received rows follows.
    LayerBatch layer = layer_batch(batch, l);
    const RowIndex own = layer.block().num_destinations;
    const RowIndex rows = is_last(l) ? own : batch.sample.layers[l + 1].block.num_sources();
    Matrix next(context.memory(), is_last(l) ? parameters_.dtype() : rows_type, rows,
                convs_[l]->out_width());
    const MatrixView output = next.view().slice(0, own);
    const Matrix residual = copy_residual(l, layer.block(), input, context);
    if (l == 0 && batch.first_layer != nullptr) {
      batch.first_layer->forward(*convs_[l], layer, output, state.convs[l], context);
    } else {
      const std::optional<LayerEnd> end = layer_end(l, layer);
      layer.end = end ? &*end : nullptr;
      convs_[l]->forward(layer, std::move(input), output, state.convs[l], context);
    }
    if (!state.convs[l].ended) {
      finish_layer(l, layer, residual, output, state.norms[l], context);
    }
    input = std::move(next);
  }
  return input;
}

void Model::norm_backward(std::size_t layer, const NormState& state, MatrixView gradient,
                          Context& context) {
  if (!has_norm(layer)) return;
  context.backend.dense().layer_norm_backward(
      {.gradient = gradient,
       .normalized = state.normalized.view(),
       .inverse_sigma = state.inverse_sigma.view(),
       .weight = parameters_.value(norms_[layer].weight),
       .weight_gradient = parameters_.gradient(norms_[layer].weight),
       .shift_gradient = parameters_.gradient(norms_[layer].shift)},
      context.stream);
}

void Model::backward(const ModelBatch& batch, Matrix logits_gradient, const ForwardState& state,
                     Context& context) {
  DenseOps& dense = context.backend.dense();
  if (batch.first_layer != nullptr) {  // it adds to the columns that it has
    const MatrixView gradients = parameters_.gradients();
    context.memory().fill_zero(gradients.data,
                               static_cast<std::size_t>(gradients.cols) * size_of(gradients.dtype),
                               context.stream);
  }
  Matrix gradient = std::move(logits_gradient);
  if (const DType rows = state.convs.front().sources.dtype(); rows != gradient.dtype()) {
    Matrix rounded(context.memory(), rows, gradient.rows(), gradient.cols());
    context.backend.sparse().convert_rows({gradient.view(), rounded.view()}, context.stream);
    gradient = std::move(rounded);
  }
  for (std::size_t l = convs_.size(); l-- > 0;) {
    const LayerScope scope(context, "backward", l, convs_[l]->in_width());
    LayerBatch layer = layer_batch(batch, l);
    const RowIndex own = layer.block().num_destinations;
    const MatrixView output_gradient = gradient.view().slice(0, own);
    if (state.convs[l].ended) {
      LayerEnd end = *layer_end(l, layer);
      end.gradient = output_gradient;
      if (!is_last(l)) end.output = state.convs[l + 1].sources.view().slice(0, own);
      layer.end = &end;
      Matrix source_gradient;
      convs_[l]->backward(layer, state.convs[l], output_gradient,
                          l > 0 ? &source_gradient : nullptr, context);
      gradient = std::move(source_gradient);
      continue;
    }
    if (!is_last(l)) {
      dense.activation_dropout_backward({.gradient = output_gradient,
                                         .output = state.convs[l + 1].sources.view().slice(0, own),
                                         .activation = activation(l),
                                         .dropout = dropout(l, batch.key),
                                         .nodes = batch.original_ids.first(own)},
                                        context.stream);
    }
    const Matrix residual_gradient = copy_residual(l, layer.block(), gradient, context);
    norm_backward(l, state.norms[l], output_gradient, context);
    dense.sum_rows({output_gradient, parameters_.gradient(convs_[l]->bias())}, context.stream);
    Matrix source_gradient;
    if (l == 0 && batch.first_layer != nullptr) {
      batch.first_layer->backward(*convs_[l], layer, state.convs[l], output_gradient, context);
      return;
    }
    convs_[l]->backward(layer, state.convs[l], output_gradient, l > 0 ? &source_gradient : nullptr,
                        context);
    if (l > 0 && has_residual(l)) {
      dense.add({residual_gradient.view(), source_gradient.view().slice(0, own)}, context.stream);
    }
    gradient = std::move(source_gradient);
  }
}

void Model::infer_layer(std::size_t layer, const LayerBatch& batch, Matrix sources,
                        MatrixView output, Context& context) {
  ConvState conv;
  NormState norm;
  const Matrix residual = copy_residual(layer, batch.block(), sources, context);
  LayerBatch with_end = batch;
  const std::optional<LayerEnd> end = layer_end(layer, batch);
  with_end.end = end ? &*end : nullptr;
  convs_[layer]->forward(with_end, std::move(sources), output, conv, context);
  if (!conv.ended) finish_layer(layer, batch, residual, output, norm, context);
}

}  // namespace gsplit
