#include <cmath>
#include <utility>

#include "runtime/nn/conv.h"
#include "runtime/nn/shuffle.h"

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
  ParameterId bias() const override { return bias1_; }

  void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const Block& block = batch.block();
    const DType rows = sources.dtype();
    pull_rows(batch.sampled, sources.view(), context);
    Matrix aggregated(context.memory(), rows, block.num_destinations, in_);
    const std::vector<double> one(block.num_destinations, 1.0);
    const DeviceArray<double> ones = context.to_device(one);
    context.backend.sparse().aggregate({block.indptr.span(), block.columns.span(), sources.view(),
                                        aggregated.view(), sum_with_self(ones)},
                                       context.stream);
    Matrix hidden(context.memory(), rows, block.num_destinations, out_);
    apply_linear(aggregated.view(), parameters_.operand(weight0_, rows), hidden.view(), false,
                 context);
    context.backend.dense().bias_activation_dropout({.values = hidden.view(),
                                                     .bias = parameters_.value(bias0_),
                                                     .activation = Activation::kRelu},
                                                    context.stream);
    apply_linear(hidden.view(), parameters_.operand(weight1_, rows), output, false, context);
    state.sources = std::move(sources);
    state.saved.clear();
    state.saved.push_back(std::move(aggregated));
    state.saved.push_back(std::move(hidden));
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    const Block& block = batch.block();
    const Matrix& aggregated = state.saved[0];
    const Matrix& hidden = state.saved[1];
    const DType rows = output_gradient.dtype;
    linear_weight_gradient(output_gradient, hidden.view(), parameters_.gradient(weight1_), context);
    Matrix hidden_gradient(context.memory(), rows, block.num_destinations, out_);
    linear_input_gradient(output_gradient, parameters_.operand(weight1_, rows),
                          hidden_gradient.view(), false, context);
    context.backend.dense().activation_dropout_backward({.gradient = hidden_gradient.view(),
                                                         .output = hidden.view(),
                                                         .activation = Activation::kRelu},
                                                        context.stream);
    linear_weight_gradient(hidden_gradient.view(), aggregated.view(),
                           parameters_.gradient(weight0_), context);
    context.backend.dense().sum_rows({hidden_gradient.view(), parameters_.gradient(bias0_)},
                                     context.stream);
    if (source_gradient == nullptr) return;

    Matrix aggregated_gradient(context.memory(), rows, block.num_destinations, in_);
    linear_input_gradient(hidden_gradient.view(), parameters_.operand(weight0_, rows),
                          aggregated_gradient.view(), false, context);
    *source_gradient = Matrix(context.memory(), rows, block.num_sources(), in_);
    const std::vector<double> one(block.num_destinations, 1.0);
    const DeviceArray<double> ones = context.to_device(one);
    context.backend.sparse().aggregate_backward(
        {block.indptr.span(), block.inverse.indptr.span(), block.inverse.destinations.span(),
         aggregated_gradient.view(), source_gradient->view(), sum_with_self(ones)},
        context.stream);
    return_gradients(batch.sampled, source_gradient->view(), context);
  }

 private:
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
