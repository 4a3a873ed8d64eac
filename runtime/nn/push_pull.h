// Push-pull parallelism of the first layer (P3: S. Gandhi and A. Iyer, OSDI 2021). Workers divide
// the columns of the input features. For the first layer each computes, of every worker's block,
// the part of the sum that its own columns make, and pushes it to that worker, who adds the parts
// up and goes on alone. Backward the gradients of these sums go to all, and each worker computes
// the gradients of its columns of the weights. So no input row ever travels, but a partial sum for
// each destination and worker does.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/nn/conv.h"

namespace gsplit {

/// The first layer of one worker's micro-batch, and what this worker has of its input.
struct PushPullPart {
  SampledLayer sampled;
  Buffer<LocalId> nodes;  ///< (num_own) of the source rows
  Matrix columns;         ///< (num_own, own columns)
};

/// Of one step.
class PushPull {
 public:
  /// `parts`: by rank, of all workers, in device memory; `first_column`: the first of the own
  /// columns.
  PushPull(std::vector<PushPullPart> parts, std::int64_t first_column)
      : parts_(std::move(parts)), states_(parts_.size()), first_column_(first_column) {}

  /// As Conv::forward() of this worker's layer `own`. REQUIRES: conv.has_partial(). Once.
  /// Collective over all workers.
  void forward(Conv& conv, const LayerBatch& own, MatrixView output, ConvState& state,
               Context& context);
  /// As Conv::backward() without source gradients, but adds to the gradients of the own columns of
  /// the weights, of all workers' losses; those of the other columns stay as they are. Collective.
  void backward(Conv& conv, const LayerBatch& own, const ConvState& state,
                ConstMatrixView output_gradient, Context& context);

 private:
  /// The part of worker `p` as a partial batch.
  LayerBatch batch_of(std::size_t p, const LayerBatch& own) const;
  /// Destinations of every worker but this one, by rank; and as many of its own for each.
  std::vector<std::size_t> theirs(const Context& context) const;
  std::vector<std::size_t> ours(const Context& context) const;

  std::vector<PushPullPart> parts_;
  std::vector<ConvState> states_;
  std::int64_t first_column_;
};

}  // namespace gsplit
