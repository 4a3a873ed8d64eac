#include <cmath>
#include <utility>

#include "runtime/nn/neighbor_sum.h"

namespace gsplit {
namespace {

class SageConv final : public Conv {
 public:
  SageConv(ParameterSet& parameters, const std::string& prefix, const ConvOptions& options)
      : parameters_(parameters), sum_(options), in_(options.in), out_(options.out) {
    const double bound = 1 / std::sqrt(static_cast<double>(in_));
    neighbor_weight_ = parameters.add(prefix + ".lin_l.weight", {out_, in_}, bound);
    bias_ = parameters.add(prefix + ".lin_l.bias", {out_}, bound);
    own_weight_ = parameters.add(prefix + ".lin_r.weight", {out_, in_}, bound);
  }

  std::int64_t in_width() const override { return in_; }
  std::int64_t out_width() const override { return out_; }
  bool needs_inverse() const override { return sum_.needs_inverse(); }
  MatrixRows matrix_rows() const override { return sum_.matrix_rows(true); }
  ParameterId bias() const override { return bias_; }

  void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const DType rows = sources.dtype();
    const std::int64_t columns = sources.cols();
    const OwnTerm own{batch.columns_of(parameters_.operand(own_weight_, rows), columns)};
    sum_.forward(batch, {}, std::move(sources),
                 batch.columns_of(parameters_.operand(neighbor_weight_, rows), columns), &own,
                 output, state, context);
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    const DType rows = output_gradient.dtype;
    const std::int64_t columns = state.sources.cols();
    const OwnTerm own{parameters_.operand(own_weight_, rows),
                      batch.columns_of(parameters_.gradient(own_weight_), columns)};
    sum_.backward(batch, {}, state, parameters_.operand(neighbor_weight_, rows), &own,
                  output_gradient,
                  batch.columns_of(parameters_.gradient(neighbor_weight_), columns),
                  source_gradient, context);
    if (source_gradient == nullptr) return;
    linear_input_gradient(output_gradient, own.weight,
                          source_gradient->view().slice(0, batch.block().num_destinations), true,
                          context);
  }

 private:
  ParameterSet& parameters_;
  NeighborSum sum_;
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
