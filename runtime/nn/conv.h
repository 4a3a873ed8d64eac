// A graph convolution: the seam between the model and its layer types.
#pragma once

#include <memory>
#include <string>

#include "runtime/nn/context.h"
#include "runtime/nn/parameters.h"
#include "sampler/block.h"

namespace gsplit {

/// What forward keeps for backward.
struct ConvState {
  Matrix sources;     ///< (num_sources, in), received rows filled in
  Matrix aggregated;  ///< (num_destinations, in)
};

/// Forward and backward are collective: each may shuffle rows between workers.
class Conv {
 public:
  virtual ~Conv() = default;
  virtual std::int64_t in_width() const = 0;
  virtual std::int64_t out_width() const = 0;
  /// (1, out) added to the output by the caller, or nothing.
  virtual MatrixView bias() = 0;
  virtual MatrixView bias_gradient() = 0;

  /// Writes `output` (num_destinations, out), before the bias. `sources`: (num_sources, in) with
  /// the own rows filled in; moved into `state`.
  virtual void forward(const SampledLayer& layer, Matrix sources, MatrixView output,
                       ConvState& state, Context& context) = 0;
  /// Writes the gradients of its weights and, where `source_gradient` is not null, (num_sources,
  /// in) of which the own rows are complete. `output_gradient`: (num_destinations, out).
  virtual void backward(const SampledLayer& layer, const ConvState& state,
                        ConstMatrixView output_gradient, Matrix* source_gradient,
                        Context& context) = 0;
};

/// GraphSAGE with the mean aggregator (W. Hamilton et al., arXiv 1706.02216), as PyG's SAGEConv:
/// lin_l(mean of in-neighbours) + lin_r(own row); bias on lin_l; no in-neighbour: the mean is 0.
std::unique_ptr<Conv> make_sage_conv(ParameterSet& parameters, const std::string& prefix,
                                     std::int64_t in, std::int64_t out);

}  // namespace gsplit
