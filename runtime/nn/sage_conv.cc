#include <cmath>
#include <utility>

#include "runtime/nn/conv.h"
#include "runtime/nn/shuffle.h"

namespace gsplit {
namespace {

/// grad W (out, in) = grad Y^T (out, rows) X (rows, in).
void weight_gradient(ConstMatrixView output_gradient, ConstMatrixView input, MatrixView gradient,
                     Context& context) {
  context.backend.dense().gemm(
      {.a = output_gradient, .b = input, .c = gradient, .transpose_a = true}, context.stream);
}

class SageConv final : public Conv {
 public:
  SageConv(ParameterSet& parameters, const std::string& prefix, std::int64_t in, std::int64_t out)
      : parameters_(parameters), in_(in), out_(out) {
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    neighbor_weight_ = parameters.add(prefix + ".lin_l.weight", {out, in}, bound);
    bias_ = parameters.add(prefix + ".lin_l.bias", {out}, bound);
    own_weight_ = parameters.add(prefix + ".lin_r.weight", {out, in}, bound);
  }

  std::int64_t in_width() const override { return in_; }
  std::int64_t out_width() const override { return out_; }
  MatrixView bias() override { return parameters_.value(bias_); }
  MatrixView bias_gradient() override { return parameters_.gradient(bias_); }

  void forward(const SampledLayer& layer, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const Block& block = layer.block;
    pull_rows(layer, sources.view(), context);
    Matrix aggregated(context.memory(), sources.dtype(), block.num_destinations, in_);
    context.backend.sparse().aggregate(
        {block.indptr.span(), block.columns.span(), sources.view(), aggregated.view()},
        context.stream);
    DenseOps& dense = context.backend.dense();
    dense.gemm({.a = aggregated.view(),
                .b = parameters_.value(neighbor_weight_),
                .c = output,
                .transpose_b = true},
               context.stream);
    dense.gemm({.a = sources.view().slice(0, block.num_destinations),
                .b = parameters_.value(own_weight_),
                .c = output,
                .transpose_b = true,
                .accumulate = true},
               context.stream);
    state = {std::move(sources), std::move(aggregated)};
  }

  void backward(const SampledLayer& layer, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    const Block& block = layer.block;
    weight_gradient(output_gradient, state.aggregated.view(),
                    parameters_.gradient(neighbor_weight_), context);
    weight_gradient(output_gradient, state.sources.view().slice(0, block.num_destinations),
                    parameters_.gradient(own_weight_), context);
    if (source_gradient == nullptr) return;

    DenseOps& dense = context.backend.dense();
    Matrix aggregated_gradient(context.memory(), output_gradient.dtype, block.num_destinations,
                               in_);
    dense.gemm({.a = output_gradient,
                .b = parameters_.value(neighbor_weight_),
                .c = aggregated_gradient.view()},
               context.stream);
    *source_gradient = Matrix(context.memory(), output_gradient.dtype, block.num_sources(), in_);
    context.backend.sparse().aggregate_backward(
        {block.indptr.span(), block.inverse.indptr.span(), block.inverse.destinations.span(),
         aggregated_gradient.view(), source_gradient->view()},
        context.stream);
    dense.gemm({.a = output_gradient,
                .b = parameters_.value(own_weight_),
                .c = source_gradient->view().slice(0, block.num_destinations),
                .accumulate = true},
               context.stream);
    return_gradients(layer, source_gradient->view(), context);
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
                                     std::int64_t in, std::int64_t out) {
  return std::make_unique<SageConv>(parameters, prefix, in, out);
}

}  // namespace gsplit
