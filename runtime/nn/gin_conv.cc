#include <cmath>
#include <utility>

#include "runtime/nn/neighbor_sum.h"

namespace gsplit {
namespace {

class GinConv final : public Conv {
 public:
  GinConv(ParameterSet& parameters, const std::string& prefix, const ConvOptions& options)
      : parameters_(parameters), in_(options.in), out_(options.out) {
    const double first = 1 / std::sqrt(static_cast<double>(in_));
    const double second = 1 / std::sqrt(static_cast<double>(out_));
    parameters.add(prefix + ".eps", {1}, 0);  // PyG's buffer; its gradient stays 0
    weight0_ = parameters.add(prefix + ".nn.lins.0.weight", {out_, in_}, first);
    bias0_ = parameters.add(prefix + ".nn.lins.0.bias", {out_}, first);
    weight1_ = parameters.add(prefix + ".nn.lins.1.weight", {out_, out_}, second);
    bias1_ = parameters.add(prefix + ".nn.lins.1.bias", {out_}, second);
  }

  std::int64_t in_width() const override { return in_; }
  std::int64_t out_width() const override { return out_; }
  MatrixRows matrix_rows() const override { return MatrixRows::kNone; }
  ParameterId bias() const override { return bias1_; }

  void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const Block& block = batch.block();
    const DType rows = sources.dtype();
    const auto flight = start_pull(batch.sampled, sources.view(), context, batch.places);
    Matrix aggregated(context.memory(), rows, block.num_destinations, sources.cols());
    const std::vector<double> one(block.num_destinations, 1.0);
    const DeviceArray<double> ones = context.to_device(one);
    AggregateArgs sums{block.indptr.span(), block.columns.span(), sources.view(), aggregated.view(),
                       sum_with_self(ones)};
    sums.places = batch.places;
    const EarlySum early(block, sums, *flight, context);
    early.hand_over(sums);
    flight->end();
    AggregateLinearArgs args{
        .sums = sums,
        .weight = batch.columns_of(parameters_.operand(weight0_, rows), sources.cols()),
        .own = {},
        .own_weight = {},
        .end = {.values = output}};
    Matrix hidden(context.memory(), rows, batch.partial() ? 0 : block.num_destinations, out_);
    if (!batch.partial()) {
      args.ends = true;
      args.end = first_end(hidden.view());
    }
    context.backend.aggregate_linear(args, context.stream);
    state.sources = std::move(sources);
    state.saved.clear();
    state.saved.push_back(std::move(aggregated));
    if (!batch.partial()) multiply_hidden(std::move(hidden), output, state, context);
  }

  void complete(const LayerBatch& batch, Matrix total, MatrixView output, ConvState& state,
                Context& context) override {
    const DType rows = state.sources.dtype();
    Matrix hidden = std::move(total);
    if (hidden.dtype() != rows) {
      Matrix rounded(context.memory(), rows, hidden.rows(), hidden.cols());
      Conv::complete(batch, std::move(hidden), rounded.view(), state, context);
      hidden = std::move(rounded);
    }
    state.saved.clear();
    context.backend.dense().bias_activation_dropout(first_end(hidden.view()), context.stream);
    multiply_hidden(std::move(hidden), output, state, context);
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    if (batch.partial()) {
      return linear_weight_gradient(
          output_gradient, state.saved.front().view(),
          batch.columns_of(parameters_.gradient(weight0_), state.saved.front().cols()), true,
          context);
    }
    Matrix hidden_gradient = second_backward(batch, state, output_gradient, context);
    LayerGradientsArgs args{
        .end = hidden_end(state, hidden_gradient.view()),
        .bias_gradient = parameters_.gradient(bias0_),
        .weights = {WeightGradient{state.saved.front().view(), parameters_.gradient(weight0_)}}};
    context.backend.layer_gradients(args, context.stream);
    if (source_gradient == nullptr) return;
    sum_backward(batch, hidden_gradient.view(), *source_gradient, context);
  }

  ConstMatrixView complete_backward(const LayerBatch& batch, const ConvState& state,
                                    ConstMatrixView output_gradient, Matrix& made,
                                    Context& context) override {
    made = second_backward(batch, state, output_gradient, context);
    context.backend.dense().activation_dropout_backward(hidden_end(state, made.view()),
                                                        context.stream);
    context.backend.dense().sum_rows({made.view(), parameters_.gradient(bias0_)}, context.stream);
    return made.view();
  }

 private:
  /// What follows the first product.
  BiasActivationDropoutArgs first_end(MatrixView hidden) const {
    return {.values = hidden, .bias = parameters_.value(bias0_), .activation = Activation::kRelu};
  }
  /// And is undone.
  static ActivationDropoutBackwardArgs hidden_end(const ConvState& state, MatrixView gradient) {
    return {
        .gradient = gradient, .output = state.saved.back().view(), .activation = Activation::kRelu};
  }

  /// The second product. `hidden` is moved into `state`.
  void multiply_hidden(Matrix hidden, MatrixView output, ConvState& state, Context& context) {
    apply_linear(hidden.view(), parameters_.operand(weight1_, hidden.dtype()), output, false,
                 context);
    state.saved.push_back(std::move(hidden));
  }

  /// Its gradients; returns that of the hidden rows.
  Matrix second_backward(const LayerBatch& batch, const ConvState& state,
                         ConstMatrixView output_gradient, Context& context) {
    const DType rows = output_gradient.dtype;
    linear_weight_gradient(output_gradient, state.saved.back().view(),
                           parameters_.gradient(weight1_), false, context);
    Matrix gradient(context.memory(), rows, batch.block().num_destinations, out_);
    linear_input_gradient(output_gradient, parameters_.operand(weight1_, rows), gradient.view(),
                          false, context);
    return gradient;
  }

  void sum_backward(const LayerBatch& batch, ConstMatrixView hidden_gradient,
                    Matrix& source_gradient, Context& context) {
    const Block& block = batch.block();
    const DType rows = hidden_gradient.dtype;
    Matrix aggregated_gradient(context.memory(), rows, block.num_destinations, in_);
    linear_input_gradient(hidden_gradient, parameters_.operand(weight0_, rows),
                          aggregated_gradient.view(), false, context);
    source_gradient = Matrix(context.memory(), rows, block.num_sources(), in_);
    const std::vector<double> one(block.num_destinations, 1.0);
    const DeviceArray<double> ones = context.to_device(one);
    aggregate_backward(
        batch.sampled,
        {block.indptr.span(), block.inverse.indptr.span(), block.inverse.destinations.span(),
         aggregated_gradient.view(), source_gradient.view(), sum_with_self(ones)},
        context);
  }

  static AggregateOptions sum_with_self(const DeviceArray<double>& ones) {
    return {.reduce = Reduce::kSum, .self_scale = ones.span()};
  }

  ParameterSet& parameters_;
  std::int64_t in_;
  std::int64_t out_;
  ParameterId weight0_;
  ParameterId bias0_;
  ParameterId weight1_;
  ParameterId bias1_;
};

}  // namespace

std::unique_ptr<Conv> make_gin_conv(ParameterSet& parameters, const std::string& prefix,
                                    const ConvOptions& options) {
  return std::make_unique<GinConv>(parameters, prefix, options);
}

}  // namespace gsplit
