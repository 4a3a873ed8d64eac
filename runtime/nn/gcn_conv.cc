#include <cmath>
#include <utility>

#include "runtime/nn/conv.h"
#include "runtime/nn/shuffle.h"

namespace gsplit {
namespace {

/// Weights of the normalised aggregation. The owner multiplies its rows by (d_j + 1)^-1/2 before
/// they travel, so that a consumer needs to know its own nodes' degrees only.
struct Normalization {
  std::vector<double> rows;          ///< (num_own) (d_j + 1)^-1/2, d_j the sum of weights
  std::vector<double> destinations;  ///< (num_destinations) (d_i + 1)^-1/2 * degree / drawn
  AggregateOptions options() const {
    return {Reduce::kSum, destinations, {rows.data(), destinations.size()}, true};
  }
};

Normalization normalization_of(const LayerBatch& batch, const NodeDegrees& degrees) {
  Normalization result;
  for (LocalId node : batch.nodes) {
    result.rows.push_back(1 / std::sqrt(degrees.without_loops[value(node)] + 1.0));
  }
  const std::span<const RowIndex> indptr = batch.block().indptr.span();
  for (std::size_t i = 0; i < batch.block().num_destinations; ++i) {
    const double drawn = indptr[i + 1] - indptr[i];
    const double degree = degrees.all[value(batch.nodes[i])];
    result.destinations.push_back(result.rows[i] * (drawn > 0 ? degree / drawn : 1));
  }
  return result;
}

class GcnConv final : public Conv {
 public:
  GcnConv(ParameterSet& parameters, const std::string& prefix, const ConvOptions& options,
          const NodeDegrees& degrees)
      : parameters_(parameters), degrees_(degrees), in_(options.in), out_(options.out) {
    bias_ = parameters.add(prefix + ".bias", {out_}, 0);
    const double glorot = std::sqrt(6.0 / static_cast<double>(in_ + out_));
    weight_ = parameters.add(prefix + ".lin.weight", {out_, in_}, glorot);
  }

  std::int64_t in_width() const override { return in_; }
  std::int64_t out_width() const override { return out_; }
  ParameterId bias() const override { return bias_; }

  void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const Block& block = batch.block();
    const Normalization normalization = normalization_of(batch, degrees_);
    context.backend.sparse().scale_rows(
        {sources.view().slice(0, block.num_own), normalization.rows}, context.stream);
    pull_rows(batch.sampled, sources.view(), context);
    Matrix aggregated(context.memory(), sources.dtype(), block.num_destinations, in_);
    context.backend.sparse().aggregate(
        {block.indptr.span(), block.columns.span(), sources.view(), aggregated.view(),
         normalization.options(), block.weights.span()},
        context.stream);
    apply_linear(aggregated.view(), parameters_.value(weight_), output, false, context);
    state.sources = std::move(sources);
    state.saved.clear();
    state.saved.push_back(std::move(aggregated));
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    const Block& block = batch.block();
    linear_weight_gradient(output_gradient, state.saved.front().view(),
                           parameters_.gradient(weight_), context);
    if (source_gradient == nullptr) return;

    const Normalization normalization = normalization_of(batch, degrees_);
    Matrix aggregated_gradient(context.memory(), output_gradient.dtype, block.num_destinations,
                               in_);
    linear_input_gradient(output_gradient, parameters_.value(weight_), aggregated_gradient.view(),
                          false, context);
    *source_gradient = Matrix(context.memory(), output_gradient.dtype, block.num_sources(), in_);
    context.backend.sparse().aggregate_backward(
        {block.indptr.span(), block.inverse.indptr.span(), block.inverse.destinations.span(),
         aggregated_gradient.view(), source_gradient->view(), normalization.options(),
         block.weights.span(), block.inverse.edges.span()},
        context.stream);
    return_gradients(batch.sampled, source_gradient->view(), context);
    context.backend.sparse().scale_rows(
        {source_gradient->view().slice(0, block.num_own), normalization.rows}, context.stream);
  }

 private:
  ParameterSet& parameters_;
  const NodeDegrees& degrees_;
  std::int64_t in_;
  std::int64_t out_;
  ParameterId bias_;
  ParameterId weight_;
};

}  // namespace

NodeDegrees count_degrees(const TopologyView& topology, GlobalRange own) {
  NodeDegrees degrees;
  for (std::size_t i = 0; i < topology.num_nodes(); ++i) {
    double sum = 0;
    for (std::int64_t e = topology.indptr[i]; e < topology.indptr[i + 1]; ++e) {
      if (value(topology.neighbor(e)) == own.begin + i) continue;
      sum +=
          topology.edge_weights.empty() ? 1.0 : topology.edge_weights[static_cast<std::size_t>(e)];
    }
    degrees.all.push_back(static_cast<std::uint32_t>(topology.indptr[i + 1] - topology.indptr[i]));
    degrees.without_loops.push_back(sum);
  }
  return degrees;
}

std::unique_ptr<Conv> make_gcn_conv(ParameterSet& parameters, const std::string& prefix,
                                    const ConvOptions& options, const NodeDegrees& degrees) {
  return std::make_unique<GcnConv>(parameters, prefix, options, degrees);
}

}  // namespace gsplit
