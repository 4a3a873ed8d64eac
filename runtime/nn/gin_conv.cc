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
    context.backend.sparse().aggregate(sums, context.stream);
    const ConstMatrixView weight =
        batch.columns_of(parameters_.operand(weight0_, rows), sources.cols());
    state.sources = std::move(sources);
    state.saved.clear();
    state.saved.push_back(std::move(aggregated));
    if (batch.partial()) {
      apply_linear(state.saved.back().view(), weight, output, false, context);
      return;
    }
    Matrix hidden(context.memory(), rows, block.num_destinations, out_);
    apply_linear(state.saved.back().view(), weight, hidden.view(), false, context);
    perceive(std::move(hidden), output, state, context);
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
    perceive(std::move(hidden), output, state, context);
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    if (batch.partial()) return sum_backward(batch, state, output_gradient, nullptr, context);
    Matrix made;
    const ConstMatrixView hidden_gradient =
        complete_backward(batch, state, output_gradient, made, context);
    sum_backward(batch, state, hidden_gradient, source_gradient, context);
  }

  ConstMatrixView complete_backward(const LayerBatch& batch, const ConvState& state,
                                    ConstMatrixView output_gradient, Matrix& made,
                                    Context& context) override {
    const Matrix& hidden = state.saved.back();
    const DType rows = output_gradient.dtype;
    linear_weight_gradient(output_gradient, hidden.view(), parameters_.gradient(weight1_), false,
                           context);
    made = Matrix(context.memory(), rows, batch.block().num_destinations, out_);
    linear_input_gradient(output_gradient, parameters_.operand(weight1_, rows), made.view(), false,
                          context);
    context.backend.dense().activation_dropout_backward(
        {.gradient = made.view(), .output = hidden.view(), .activation = Activation::kRelu},
        context.stream);
    context.backend.dense().sum_rows({made.view(), parameters_.gradient(bias0_)}, context.stream);
    return made.view();
  }

 private:
  /// The rest of the perceptron. `hidden`: of its first product; moved into `state`.
  void perceive(Matrix hidden, MatrixView output, ConvState& state, Context& context) {
    const DType rows = hidden.dtype();
    context.backend.dense().bias_activation_dropout({.values = hidden.view(),
                                                     .bias = parameters_.value(bias0_),
                                                     .activation = Activation::kRelu},
                                                    context.stream);
    apply_linear(hidden.view(), parameters_.operand(weight1_, rows), output, false, context);
    state.saved.push_back(std::move(hidden));
  }

  void sum_backward(const LayerBatch& batch, const ConvState& state,
                    ConstMatrixView hidden_gradient, Matrix* source_gradient, Context& context) {
    const Block& block = batch.block();
    const Matrix& aggregated = state.saved.front();
    const DType rows = hidden_gradient.dtype;
    linear_weight_gradient(hidden_gradient, aggregated.view(),
                           batch.columns_of(parameters_.gradient(weight0_), aggregated.cols()),
                           batch.partial(), context);
    if (source_gradient == nullptr) return;

    Matrix aggregated_gradient(context.memory(), rows, block.num_destinations, in_);
    linear_input_gradient(hidden_gradient, parameters_.operand(weight0_, rows),
                          aggregated_gradient.view(), false, context);
    *source_gradient = Matrix(context.memory(), rows, block.num_sources(), in_);
    const std::vector<double> one(block.num_destinations, 1.0);
    const DeviceArray<double> ones = context.to_device(one);
    aggregate_backward(
        batch.sampled,
        {block.indptr.span(), block.inverse.indptr.span(), block.inverse.destinations.span(),
         aggregated_gradient.view(), source_gradient->view(), sum_with_self(ones)},
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
