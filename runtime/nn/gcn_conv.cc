#include <cmath>
#include <utility>

#include "runtime/nn/neighbor_sum.h"

namespace gsplit {
namespace {

/// Weights of the normalised aggregation of one block. The owner multiplies its rows by (d_j +
/// 1)^-1/2 before they travel, so that a consumer needs to know its own nodes' degrees only.
class Normalization {
 public:
  Normalization(const LayerBatch& batch, const GcnScales& scales, Context& context)
      : rows_(pick(scales.inverse_root, batch.nodes, context)),
        means_(pick(scales.mean, batch.nodes.first(batch.block().num_destinations), context)) {}

  /// (num_own)
  std::span<const double> rows() const { return as_span(rows_); }
  AggregateOptions options() const {
    return {Reduce::kMean, as_span(means_), rows().first(as_span(means_).size()), true};
  }

 private:
  static Matrix pick(const Buffer<double>& scales, std::span<const LocalId> nodes,
                     Context& context) {
    const auto all = static_cast<std::int64_t>(scales.size());
    Matrix picked(context.memory(), DType::kF64, static_cast<std::int64_t>(nodes.size()), 1);
    context.backend.sparse().gather_rows(
        {{scales.data(), DType::kF64, all, 1, 1}, as_rows(nodes), picked.view()}, context.stream);
    return picked;
  }
  static std::span<const double> as_span(const Matrix& column) {
    return {static_cast<const double*>(column.view().data),
            static_cast<std::size_t>(column.rows())};
  }

  Matrix rows_;
  Matrix means_;
};

class GcnConv final : public Conv {
 public:
  GcnConv(ParameterSet& parameters, const std::string& prefix, const ConvOptions& options,
          const GcnScales& scales)
      : parameters_(parameters),
        sum_(options),
        scales_(scales),
        in_(options.in),
        out_(options.out) {
    bias_ = parameters.add(prefix + ".bias", {out_}, 0);
    const double glorot = std::sqrt(6.0 / static_cast<double>(in_ + out_));
    weight_ = parameters.add(prefix + ".lin.weight", {out_, in_}, glorot);
  }

  std::int64_t in_width() const override { return in_; }
  std::int64_t out_width() const override { return out_; }
  bool needs_inverse() const override { return sum_.needs_inverse(); }
  MatrixRows matrix_rows() const override { return sum_.matrix_rows(false); }
  ParameterId bias() const override { return bias_; }

  void forward(const LayerBatch& batch, Matrix sources, MatrixView output, ConvState& state,
               Context& context) override {
    const Normalization normalization(batch, scales_, context);
    LayerBatch scaled = batch;
    if (batch.places.empty()) {
      context.backend.sparse().scale_rows(
          {sources.view().slice(0, batch.block().num_own), normalization.rows()}, context.stream);
    } else {
      scaled.places.factors = normalization.rows();
    }
    const ConstMatrixView weight =
        batch.columns_of(parameters_.operand(weight_, sources.dtype()), sources.cols());
    sum_.forward(scaled, normalization.options(), std::move(sources), weight, nullptr, output,
                 state, context);
  }

  void backward(const LayerBatch& batch, const ConvState& state, ConstMatrixView output_gradient,
                Matrix* source_gradient, Context& context) override {
    const Normalization normalization(batch, scales_, context);
    sum_.backward(batch, normalization.options(), state,
                  parameters_.operand(weight_, output_gradient.dtype), nullptr, output_gradient,
                  batch.columns_of(parameters_.gradient(weight_), state.sources.cols()),
                  source_gradient, context);
    if (source_gradient == nullptr) return;
    context.backend.sparse().scale_rows(
        {source_gradient->view().slice(0, batch.block().num_own), normalization.rows()},
        context.stream);
  }

 private:
  ParameterSet& parameters_;
  NeighborSum sum_;
  const GcnScales& scales_;
  std::int64_t in_;
  std::int64_t out_;
  ParameterId bias_;
  ParameterId weight_;
};

}  // namespace

GcnScales gcn_scales(const TopologyView& topology, GlobalRange own, Memory& memory, Stream& stream,
                     const InverseRootsOfCopies& of_copies) {
  std::vector<double> roots, means;
  for (std::size_t i = 0; i < topology.num_nodes(); ++i) {
    double weights = 0;  // of the edges but self-loops, in stored order
    for (std::int64_t e = topology.indptr[i]; e < topology.indptr[i + 1]; ++e) {
      if (value(topology.neighbor(e)) == own.begin + i) continue;
      weights +=
          topology.edge_weights.empty() ? 1.0 : topology.edge_weights[static_cast<std::size_t>(e)];
    }
    roots.push_back(1 / std::sqrt(weights + 1.0));
    means.push_back(roots[i] * static_cast<double>(topology.indptr[i + 1] - topology.indptr[i]));
  }
  if (of_copies) {
    const std::vector<double> more = of_copies(roots);
    roots.insert(roots.end(), more.begin(), more.end());
  }
  GcnScales scales{Buffer<double>(memory, roots.size()), Buffer<double>(memory, means.size())};
  memory.copy(scales.inverse_root.data(), roots.data(), roots.size() * sizeof(double), stream);
  memory.copy(scales.mean.data(), means.data(), means.size() * sizeof(double), stream);
  return scales;
}

std::unique_ptr<Conv> make_gcn_conv(ParameterSet& parameters, const std::string& prefix,
                                    const ConvOptions& options, const GcnScales& scales) {
  return std::make_unique<GcnConv>(parameters, prefix, options, scales);
}

}  // namespace gsplit
