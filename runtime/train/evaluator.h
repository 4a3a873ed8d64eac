// Full-neighbour inference, layer by layer over all own nodes, distributed by the same ownership as
// training: no sampling error, every node computed once per layer (as PyG's and DGL's `inference`).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/shard.h"
#include "runtime/nn/model.h"
#include "sampler/split_sampler.h"

namespace gsplit {

/// Over the nodes of one split and all workers.
struct Score {
  std::uint64_t nodes = 0;
  std::uint64_t correct = 0;
  double loss_sum = 0;

  double accuracy() const {
    return nodes == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(nodes);
  }
};

struct Scores {
  Score validation;
  Score test;
};

class Evaluator {
 public:
  /// All references must outlive the evaluator.
  Evaluator(const Shard& shard, Model& model, SplitSampler& sampler, Context& context);

  /// Collective. Logits of `nodes` (own, distinct), in their order: (nodes, classes).
  Matrix logits(std::span<const LocalId> nodes);
  /// Collective: the same result everywhere.
  Scores scores();

 private:
  Matrix infer_layer(std::size_t layer, ConstMatrixView input, std::span<const LocalId> nodes);
  void infer_chunk(std::size_t layer, ConstMatrixView input, std::span<const LocalId> nodes,
                   MatrixView output);
  Score score(std::span<const LocalId> nodes, ConstMatrixView logits);

  const Shard& shard_;
  Model& model_;
  SplitSampler& sampler_;
  Context& context_;
};

}  // namespace gsplit
