#include <cmath>
#include <utility>

#include "runtime/nn/conv.h"
#include "runtime/nn/shuffle.h"

namespace gsplit {
namespace {

/// What GatConv keeps in ConvState::saved.
enum Saved : std::size_t { kValues, kSourceLogits, kDestinationLogits, kSoftmax };

class GatConv final : public Conv {
 public:
  GatConv(ParameterSet& parameters, const std::string& prefix, const ConvOptions& options)
      : parameters_(parameters), options_(options) {
    width_ = options.concat_heads ? options.out / options.heads : options.out;
    const auto heads = static_cast<double>(options.heads);
    const double attention = std::sqrt(6.0 / (heads + static_cast<double>(width_)));
    const double weight = std::sqrt(6.0 / static_cast<double>(options.in + values_width()));
    source_vector_ = parameters.add(prefix + ".att_src", {1, options.heads, width_}, attention);
    destination_vector_ =
        parameters.add(prefix + ".att_dst", {1, options.heads, width_}, attention);
    bias_ = parameters.add(prefix + ".bias", {options.out}, 0);
    weight_ = parameters.add(prefix + ".lin.weight", {values_width(), options.in}, weight);
  }

  std::int64_t in_width() const override { return options_.in; }
  std::int64_t out_width() const override { return options_.out; }
  bool needs_inverse() const override { return true; }
  ParameterId bias() const override { return bias_; }

  void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const Block& block = batch.block();
    const DType dtype = sources.dtype();
    Matrix values(context.memory(), dtype, block.num_sources(), values_width());
    apply_linear(sources.view().slice(0, block.num_own), parameters_.value(weight_),
                 values.view().slice(0, block.num_own), false, context);
    pull_rows(batch.sampled, values.view(), context);
    state.sources = std::move(sources);
    state.saved.clear();
    state.saved.push_back(std::move(values));
    state.saved.push_back(logits(state.saved[kValues].view(), source_vector_, context));
    state.saved.push_back(logits(state.saved[kValues].view().slice(0, block.num_destinations),
                                 destination_vector_, context));
    state.saved.emplace_back(context.memory(), dtype, block.num_destinations, 2 * options_.heads);
    Matrix heads(context.memory(), dtype, block.num_destinations,
                 options_.concat_heads ? 0 : values_width());
    const MatrixView attended = options_.concat_heads ? output : heads.view();
    context.backend.sparse().attention(
        {attention_of(batch, state), attended, state.saved[kSoftmax].view()}, context.stream);
    if (!options_.concat_heads) {
      context.backend.sparse().mean_heads({heads.view(), output}, context.stream);
    }
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    const Block& block = batch.block();
    const DType dtype = output_gradient.dtype;
    Matrix heads(context.memory(), dtype, block.num_destinations,
                 options_.concat_heads ? 0 : values_width());
    if (!options_.concat_heads) {
      context.backend.sparse().mean_heads_backward({output_gradient, heads.view()}, context.stream);
    }
    Matrix values_gradient(context.memory(), dtype, block.num_sources(), values_width());
    attention_backward(batch, state,
                       options_.concat_heads ? output_gradient : std::as_const(heads).view(),
                       values_gradient.view(), context);
    return_gradients(batch.sampled, values_gradient.view(), context);
    const MatrixView own_gradient = values_gradient.view().slice(0, block.num_own);
    linear_weight_gradient(own_gradient, state.sources.view().slice(0, block.num_own),
                           parameters_.gradient(weight_), context);
    if (source_gradient == nullptr) return;
    *source_gradient = Matrix(context.memory(), dtype, block.num_own, options_.in);
    linear_input_gradient(own_gradient, parameters_.value(weight_), source_gradient->view(), false,
                          context);
  }

 private:
  std::int64_t values_width() const { return options_.heads * width_; }

  Matrix logits(ConstMatrixView values, ParameterId vector, Context& context) {
    Matrix result(context.memory(), values.dtype, values.rows, options_.heads);
    context.backend.sparse().head_dots({values, by_head(parameters_.value(vector)), result.view()},
                                       context.stream);
    return result;
  }

  /// The (1, heads, width) tensor as (heads, width).
  MatrixView by_head(MatrixView vector) const {
    return {vector.data, vector.dtype, options_.heads, width_, width_};
  }

  Attention attention_of(const LayerBatch& batch, const ConvState& state) const {
    DrawKey key = batch.key;
    key.purpose = Purpose::kAttentionDropout;
    return {.indptr = batch.block().indptr.span(),
            .columns = batch.block().columns.span(),
            .values = state.saved[kValues].view(),
            .source_logits = state.saved[kSourceLogits].view(),
            .destination_logits = state.saved[kDestinationLogits].view(),
            .dropout = {batch.training ? options_.attention_dropout : 0, key},
            .nodes = batch.original_ids.first(batch.block().num_destinations)};
  }

  /// Gradients of the transformed rows, received ones included, and of both attention vectors.
  void attention_backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView gradient,
                          MatrixView values_gradient, Context& context) {
    const Block& block = batch.block();
    Matrix source(context.memory(), gradient.dtype, block.num_sources(), options_.heads);
    Matrix destination(context.memory(), gradient.dtype, block.num_destinations, options_.heads);
    context.backend.sparse().attention_backward(
        {.attention = attention_of(batch, state),
         .softmax = state.saved[kSoftmax].view(),
         .output_gradient = gradient,
         .inverse_indptr = block.inverse.indptr.span(),
         .inverse_destinations = block.inverse.destinations.span(),
         .inverse_edges = block.inverse.edges.span(),
         .values_gradient = values_gradient,
         .source_logits_gradient = source.view(),
         .destination_logits_gradient = destination.view()},
        context.stream);
    logits_backward(state.saved[kValues].view(), source_vector_, source.view(), values_gradient,
                    context);
    logits_backward(state.saved[kValues].view().slice(0, block.num_destinations),
                    destination_vector_, destination.view(),
                    values_gradient.slice(0, block.num_destinations), context);
  }

  void logits_backward(ConstMatrixView values, ParameterId vector, ConstMatrixView logits_gradient,
                       MatrixView values_gradient, Context& context) {
    const MatrixView gradient = parameters_.gradient(vector);
    context.memory().fill_zero(
        gradient.data,
        static_cast<std::size_t>(gradient.rows * gradient.cols) * size_of(gradient.dtype),
        context.stream);
    context.backend.sparse().head_dots_backward(
        {values, by_head(parameters_.value(vector)), logits_gradient, values_gradient,
         by_head(gradient)},
        context.stream);
  }

  ParameterSet& parameters_;
  ConvOptions options_;
  std::int64_t width_ = 0;  // of one head
  ParameterId source_vector_;
  ParameterId destination_vector_;
  ParameterId bias_;
  ParameterId weight_;
};

}  // namespace

std::unique_ptr<Conv> make_gat_conv(ParameterSet& parameters, const std::string& prefix,
                                    const ConvOptions& options) {
  return std::make_unique<GatConv>(parameters, prefix, options);
}

}  // namespace gsplit
