#include <cmath>
#include <utility>

#include "runtime/nn/conv.h"
#include "runtime/nn/shuffle.h"

namespace gsplit {
namespace {

class SageConv final : public Conv {
 public:
  SageConv(ParameterSet& parameters, const std::string& prefix, const ConvOptions& options)
      : parameters_(parameters), in_(options.in), out_(options.out) {
    const double bound = 1 / std::sqrt(static_cast<double>(in_));
    neighbor_weight_ = parameters.add(prefix + ".lin_l.weight", {out_, in_}, bound);
    bias_ = parameters.add(prefix + ".lin_l.bias", {out_}, bound);
    own_weight_ = parameters.add(prefix + ".lin_r.weight", {out_, in_}, bound);
  }

  std::int64_t in_width() const override { return in_; }
  std::int64_t out_width() const override { return out_; }
  ParameterId bias() const override { return bias_; }

  void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const Block& block = batch.block();
    pull_rows(batch.sampled, sources.view(), context);
    Matrix aggregated(context.memory(), sources.dtype(), block.num_destinations, in_);
    context.backend.sparse().aggregate({block.indptr.span(),
                                        block.columns.span(),
                                        sources.view(),
                                        aggregated.view(),
                                        {},
                                        block.weights.span()},
                                       context.stream);
    apply_linear(aggregated.view(), parameters_.value(neighbor_weight_), output, false, context);
    apply_linear(sources.view().slice(0, block.num_destinations), parameters_.value(own_weight_),
                 output, true, context);
    state.sources = std::move(sources);
    state.saved.clear();
    state.saved.push_back(std::move(aggregated));
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    const Block& block = batch.block();
    linear_weight_gradient(output_gradient, state.saved.front().view(),
                           parameters_.gradient(neighbor_weight_), context);
    linear_weight_gradient(output_gradient, state.sources.view().slice(0, block.num_destinations),
                           parameters_.gradient(own_weight_), context);
    if (source_gradient == nullptr) return;

    Matrix aggregated_gradient(context.memory(), output_gradient.dtype, block.num_destinations,
                               in_);
    linear_input_gradient(output_gradient, parameters_.value(neighbor_weight_),
                          aggregated_gradient.view(), false, context);
    *source_gradient = Matrix(context.memory(), output_gradient.dtype, block.num_sources(), in_);
    context.backend.sparse().aggregate_backward({block.indptr.span(),
                                                 block.inverse.indptr.span(),
                                                 block.inverse.destinations.span(),
                                                 aggregated_gradient.view(),
                                                 source_gradient->view(),
                                                 {},
                                                 block.weights.span(),
                                                 block.inverse.edges.span()},
                                                context.stream);
    linear_input_gradient(output_gradient, parameters_.value(own_weight_),
                          source_gradient->view().slice(0, block.num_destinations), true, context);
    return_gradients(batch.sampled, source_gradient->view(), context);
  }

 private:
  ParameterSet& parameters_;
  std::int64_t in_;
  std::int64_t out_;
  ParameterId neighbor_weight_;
  ParameterId bias_;
  ParameterId own_weight_;
};

}  // namespace

std::unique_ptr<Conv> make_sage_conv(ParameterSet& parameters, const std::string& prefix,
                                     const ConvOptions& options) {
  return std::make_unique<SageConv>(parameters, prefix, options);
}

}  // namespace gsplit
