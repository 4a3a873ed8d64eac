#include <cmath>
#include <utility>

#include "runtime/nn/conv.h"
#include "runtime/nn/shuffle.h"

namespace gsplit {
namespace {

/// What GatConv keeps in ConvState::saved. What is attended to, the values, are rows transformed
/// for each head, or the sources themselves, which all heads share; then their sums are kept too.
enum Saved : std::size_t { kSourceLogits, kDestinationLogits, kSoftmax, kValues, kSums = kValues };

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
  bool has_partial() const override { return false; }
  bool needs_inverse() const override { return true; }
  ParameterId bias() const override { return bias_; }

  void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const Block& block = batch.block();
    state.order = choose_order(options_.order, linear_part(batch.training), block, context);
    state.sources = std::move(sources);
    state.saved.clear();
    Matrix heads(context.memory(), state.sources.dtype(), block.num_destinations,
                 options_.concat_heads ? 0 : values_width());
    const MatrixView attended = options_.concat_heads ? output : heads.view();
    if (state.order == Order::kTransform) {
      transform_and_attend(batch, state, attended, context);
    } else {
      attend_and_transform(batch, state, attended, context);
    }
    if (!options_.concat_heads) {
      context.backend.sparse().mean_heads({heads.view(), output}, context.stream);
    }
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    Matrix heads(context.memory(), output_gradient.dtype, batch.block().num_destinations,
                 options_.concat_heads ? 0 : values_width());
    if (!options_.concat_heads) {
      context.backend.sparse().mean_heads_backward({output_gradient, heads.view()}, context.stream);
    }
    const ConstMatrixView gradient =
        options_.concat_heads ? output_gradient : std::as_const(heads).view();
    if (state.order == Order::kTransform) {
      transform_backward(batch, state, gradient, source_gradient, context);
    } else {
      aggregate_backward(batch, state, gradient, source_gradient, context);
    }
  }

 private:
  struct LogitGradients {
    Matrix source;       ///< (num_sources, heads)
    Matrix destination;  ///< (num_destinations, heads)
  };

  std::int64_t values_width() const { return options_.heads * width_; }

  LinearPart linear_part(bool training) const {
    return {.in = options_.in,
            .out = values_width(),
            .heads = options_.heads,
            .attention = true,
            .backward = training,
            .source_gradient = !options_.input_layer};
  }

  // --- Transform, then attend: z_j = W h_j, logits a . z_j, sum_j a_ij z_j
  // ------------------------

  void transform_and_attend(const LayerBatch& batch, ConvState& state, MatrixView attended,
                            Context& context) {
    const Block& block = batch.block();
    Matrix values(context.memory(), attended.dtype, block.num_sources(), values_width());
    apply_linear(state.sources.view().slice(0, block.num_own),
                 parameters_.operand(weight_, values.dtype()),
                 values.view().slice(0, block.num_own), false, context);
    const auto flight = start_pull(batch.sampled, values.view(), context);
    save_logits(block, values.view(), *flight, state, context,
                [&](ConstMatrixView rows, ParameterId vector, MatrixView logits) {
                  dots(rows, vector, logits, context);
                });
    attend(batch, values.view(), state, attended, context);
    state.saved.push_back(std::move(values));
  }

  void transform_backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView gradient,
                          Matrix* source_gradient, Context& context) {
    const Block& block = batch.block();
    const ConstMatrixView values = state.saved[kValues].view();
    Matrix values_gradient(context.memory(), gradient.dtype, block.num_sources(), values_width());
    const LogitGradients logits =
        attention_backward(batch, values, state, gradient, values_gradient.view(), context);
    dots_backward(values, source_vector_, logits.source.view(), values_gradient.view(), context);
    dots_backward(values.slice(0, block.num_destinations), destination_vector_,
                  logits.destination.view(),
                  values_gradient.view().slice(0, block.num_destinations), context);
    return_gradients(batch.sampled, values_gradient.view(), context);
    const MatrixView own_gradient = values_gradient.view().slice(0, block.num_own);
    linear_weight_gradient(own_gradient, state.sources.view().slice(0, block.num_own),
                           parameters_.gradient(weight_), false, context);
    if (source_gradient == nullptr) return;
    *source_gradient = Matrix(context.memory(), gradient.dtype, block.num_own, options_.in);
    linear_input_gradient(own_gradient, parameters_.operand(weight_, gradient.dtype),
                          source_gradient->view(), false, context);
  }

  void dots(ConstMatrixView values, ParameterId vector, MatrixView logits, Context& context) {
    context.backend.sparse().head_dots({values, by_head(parameters_.value(vector)), logits},
                                       context.stream);
  }

  void dots_backward(ConstMatrixView values, ParameterId vector, ConstMatrixView logits_gradient,
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

  /// The (1, heads, width) tensor as (heads, width).
  MatrixView by_head(MatrixView vector) const {
    return {vector.data, vector.dtype, options_.heads, width_, width_};
  }

  // --- Attend, then transform: sum_j a_ij W h_j = W sum_j a_ij h_j per head, logits u . h_j with
  // u = W^T a
  // --------------------------------------------------------------------------------------

  void attend_and_transform(const LayerBatch& batch, ConvState& state, MatrixView attended,
                            Context& context) {
    const Block& block = batch.block();
    const ConstMatrixView sources = state.sources.view();
    const auto flight = start_pull(batch.sampled, state.sources.view(), context);
    save_logits(block, sources, *flight, state, context,
                [&](ConstMatrixView rows, ParameterId vector, MatrixView logits) {
                  dots_of_inputs(rows, vector, logits, context);
                });
    Matrix sums(context.memory(), attended.dtype, block.num_destinations,
                options_.heads * options_.in);
    attend(batch, sources, state, sums.view(), context);
    for (int h = 0; h < options_.heads; ++h) {
      apply_linear(sum_of(h, sums.view()), weight_of(h, sums.dtype()), value_of(h, attended), false,
                   context);
    }
    state.saved.push_back(std::move(sums));
  }

  void aggregate_backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView gradient,
                          Matrix* source_gradient, Context& context) {
    const Block& block = batch.block();
    const ConstMatrixView sources = state.sources.view();
    Matrix sums_gradient(context.memory(), gradient.dtype, block.num_destinations,
                         options_.heads * options_.in);
    for (int h = 0; h < options_.heads; ++h) {
      const ConstMatrixView of_head = value_of(h, gradient);
      linear_weight_gradient(of_head, sum_of(h, state.saved[kSums].view()), weight_gradient_of(h),
                             false, context);
      linear_input_gradient(of_head, weight_of(h, gradient.dtype), sum_of(h, sums_gradient.view()),
                            false, context);
    }
    Matrix rows_gradient(context.memory(), gradient.dtype,
                         source_gradient == nullptr ? 0 : block.num_sources(), options_.in);
    const LogitGradients logits = attention_backward(batch, sources, state, sums_gradient.view(),
                                                     rows_gradient.view(), context);
    const bool wanted = source_gradient != nullptr;
    logits_backward(sources, source_vector_, logits.source.view(),
                    wanted ? rows_gradient.view() : MatrixView{}, context);
    logits_backward(
        sources.slice(0, block.num_destinations), destination_vector_, logits.destination.view(),
        wanted ? rows_gradient.view().slice(0, block.num_destinations) : MatrixView{}, context);
    if (!wanted) return;
    return_gradients(batch.sampled, rows_gradient.view(), context);
    *source_gradient = std::move(rows_gradient);
  }

  /// (heads, in): row h is W_h^T a_h.
  Matrix logit_weights(ParameterId vector, Context& context) {
    const MatrixView vectors = by_head(parameters_.value(vector));
    Matrix weights(context.memory(), vectors.dtype, options_.heads, options_.in);
    for (int h = 0; h < options_.heads; ++h) {
      linear_input_gradient(vectors.slice(h, 1), weight_of(h, vectors.dtype),
                            weights.view().slice(h, 1), false, context);
    }
    return weights;
  }

  void dots_of_inputs(ConstMatrixView rows, ParameterId vector, MatrixView logits,
                      Context& context) {
    const Matrix weights = logit_weights(vector, context);
    apply_linear(rows, Operand(weights.view(), rows.dtype, context).view(), logits, false, context);
  }

  /// Writes the gradient of the attention vector a and adds to those of W and, where it has rows,
  /// of the rows: of u_h = W_h^T a_h, g = du_h is sum_i of logits_gradient[i][h] * row i, so dW_h =
  /// a_h g^T and da_h = W_h g.
  void logits_backward(ConstMatrixView rows, ParameterId vector, ConstMatrixView logits_gradient,
                       MatrixView rows_gradient, Context& context) {
    const MatrixView vectors = by_head(parameters_.value(vector));
    const MatrixView vectors_gradient = by_head(parameters_.gradient(vector));
    const Operand of_logits(logits_gradient, rows.dtype, context);
    Matrix of_weights(context.memory(), vectors.dtype, options_.heads, options_.in);
    linear_weight_gradient(of_logits.view(), rows, of_weights.view(), false, context);
    for (int h = 0; h < options_.heads; ++h) {
      const ConstMatrixView of_head = std::as_const(of_weights).view().slice(h, 1);
      context.backend.dense().gemm({.a = vectors.slice(h, 1),
                                    .b = of_head,
                                    .c = weight_gradient_of(h),
                                    .transpose_a = true,
                                    .accumulate = true},
                                   context.stream);
      apply_linear(of_head, weight_of(h, vectors.dtype), vectors_gradient.slice(h, 1), false,
                   context);
    }
    if (rows_gradient.rows == 0) return;
    const Matrix weights = logit_weights(vector, context);
    linear_input_gradient(of_logits.view(), Operand(weights.view(), rows.dtype, context).view(),
                          rows_gradient, true, context);
  }

  ConstMatrixView weight_of(int head, DType rows) {
    return parameters_.operand(weight_, rows).slice(head * width_, width_);
  }
  MatrixView weight_gradient_of(int head) {
    return parameters_.gradient(weight_).slice(head * width_, width_);
  }
  /// A head's columns of (rows, heads * width) and of (rows, heads * in).
  template <class View>
  View value_of(int head, const View& values) const {
    return values.columns(head * width_, width_);
  }
  template <class View>
  View sum_of(int head, const View& sums) const {
    return sums.columns(head * options_.in, options_.in);
  }

  // --- Both
  // ---------------------------------------------------------------------------------------

  /// The logits of all sources and of the destinations, those of own rows while the others are on
  /// their way; dots(rows, vector, logits) makes them.
  template <class Dots>
  void save_logits(const Block& block, ConstMatrixView rows, RowFlight& flight, ConvState& state,
                   Context& context, Dots dots) {
    const auto room = [&](std::int64_t count) {
      return Matrix(context.memory(), parameters_.dtype(), count, options_.heads);
    };
    Matrix source = room(block.num_sources()), destination = room(block.num_destinations);
    const auto part = [&](std::int64_t begin, std::int64_t count) {
      dots(rows.slice(begin, count), source_vector_, source.view().slice(begin, count));
    };
    part(0, block.num_own);
    dots(rows.slice(0, block.num_destinations), destination_vector_, destination.view());
    flight.end();
    if (block.num_received > 0) part(block.num_own, block.num_received);
    state.saved.push_back(std::move(source));
    state.saved.push_back(std::move(destination));
  }

  Attention attention_of(const LayerBatch& batch, ConstMatrixView values,
                         const ConvState& state) const {
    DrawKey key = batch.key;
    key.purpose = Purpose::kAttentionDropout;
    return {.indptr = batch.block().indptr.span(),
            .columns = batch.block().columns.span(),
            .values = values,
            .source_logits = state.saved[kSourceLogits].view(),
            .destination_logits = state.saved[kDestinationLogits].view(),
            .dropout = {batch.training ? options_.attention_dropout : 0, key},
            .nodes = batch.original_ids.first(batch.block().num_destinations)};
  }

  /// Sums `values` into `output` and keeps the softmax. REQUIRES: the logits are in `state`.
  void attend(const LayerBatch& batch, ConstMatrixView values, ConvState& state, MatrixView output,
              Context& context) {
    state.saved.emplace_back(context.memory(), parameters_.dtype(), output.rows,
                             2 * options_.heads);
    context.backend.sparse().attention(
        {attention_of(batch, values, state), output, state.saved[kSoftmax].view()}, context.stream);
  }

  /// Writes the gradients of `values`, received ones included, where values_gradient has rows.
  LogitGradients attention_backward(const LayerBatch& batch, ConstMatrixView values,
                                    const ConvState& state, ConstMatrixView gradient,
                                    MatrixView values_gradient, Context& context) {
    const Block& block = batch.block();
    LogitGradients logits{
        Matrix(context.memory(), parameters_.dtype(), block.num_sources(), options_.heads),
        Matrix(context.memory(), parameters_.dtype(), block.num_destinations, options_.heads)};
    context.backend.sparse().attention_backward(
        {.attention = attention_of(batch, values, state),
         .softmax = state.saved[kSoftmax].view(),
         .output_gradient = gradient,
         .inverse_indptr = block.inverse.indptr.span(),
         .inverse_destinations = block.inverse.destinations.span(),
         .inverse_edges = block.inverse.edges.span(),
         .values_gradient = values_gradient,
         .source_logits_gradient = logits.source.view(),
         .destination_logits_gradient = logits.destination.view()},
        context.stream);
    return logits;
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
