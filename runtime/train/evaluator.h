// Full-neighbour inference, layer by layer over all own nodes, distributed by the same ownership as
// training: no sampling error, every node computed once per layer (as PyG's and DGL's `inference`).
// Workers that hold the same part share its nodes and exchange their rows.
// Or, with --eval-fanout, by mini-batches of sampled neighbours.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/shard.h"
#include "runtime/nn/model.h"
#include "runtime/train/device_data.h"
#include "runtime/train/input_rows.h"
#include "runtime/train/layer_memory.h"
#include "runtime/train/task_loss.h"
#include "sampler/split_sampler.h"

namespace gsplit {

/// A layer of all nodes is computed piece by piece, each of about so many in-edges, hence with at
/// most as many rows that it reads.
inline constexpr std::int64_t kEdgesPerPiece = std::int64_t{1} << 20;

/// Over the nodes of one split and all workers.
struct Score {
  std::uint64_t nodes = 0;
  PredictionCounts predictions;
  double loss_sum = 0;

  /// Micro-F1, which is the accuracy where a node has one class; 0 without nodes.
  double accuracy() const { return predictions.f1(); }
};

struct Scores {
  Score validation;
  Score test;
};

struct EvaluatorOptions {
  std::vector<std::int32_t> fanout;     ///< nearest the seeds first; empty: all neighbours
  Sampler sampler = Sampler::kUniform;  ///< of the fanout
  std::uint64_t seed = 0;               ///< of the draws; every evaluation draws the same
  int local_workers = 1;                ///< of this host, among whom its memory is divided
  const DeviceData* device = nullptr;   ///< where the sampler draws on a device: its graph
};

/// Every public function is collective. Own nodes are those of the worker's part, all nodes where
/// it has the whole graph.
class Evaluator {
 public:
  /// All references must outlive the evaluator.
  Evaluator(const EvaluatorOptions& options, const Shard& shard, InputRows& input, Model& model,
            SplitSampler& sampler, Context& context);

  /// Full-neighbour outputs of the last hidden layer, of all own nodes by LocalId: (nodes, hidden).
  /// REQUIRES: the model has two layers or more; the matrix does not outlive the evaluator.
  Matrix embeddings();
  /// Full-neighbour logits of `nodes` (own, distinct), in their order: (nodes, classes).
  Matrix logits(std::span<const LocalId> nodes);
  /// The same from what embeddings() returned.
  Matrix logits(std::span<const LocalId> nodes, const Matrix& embeddings);
  /// Of each split of own nodes, over all workers: the same result everywhere.
  std::vector<Score> scores(const std::vector<std::span<const LocalId>>& splits);
  Scores scores();

 private:
  class Drawn;
  Drawn draw(std::span<const LocalId> nodes, const SampleOptions& options);
  /// Features of the batch's own nodes.
  void load(const Drawn& drawn, MatrixView rows);
  /// The output of one layer for `nodes`, in `memory`.
  Matrix infer_layer(std::size_t layer, const Matrix& input, std::span<const LocalId> nodes,
                     Memory& memory);
  void infer_chunk(std::size_t layer, const Matrix& input, std::span<const LocalId> nodes,
                   MatrixView output);
  Matrix sampled_logits(std::span<const LocalId> nodes);
  void sampled_batch(std::span<const LocalId> nodes, MatrixView output);
  Score score(std::span<const LocalId> nodes, ConstMatrixView logits);

  EvaluatorOptions options_;
  const Shard& shard_;
  InputRows& input_;
  Model& model_;
  SplitSampler& sampler_;
  Context& context_;
  TaskLoss loss_;  // without class weights
  LayerMemory layer_memory_;
};

}  // namespace gsplit
