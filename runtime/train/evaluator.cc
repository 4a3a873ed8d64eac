#include "runtime/train/evaluator.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace gsplit {
namespace {

constexpr std::int64_t kEdgesPerChunk = std::int64_t{1} << 20;
constexpr std::size_t kNodesPerChunk = 32768;

/// Ends of consecutive pieces of `nodes`, each of at most kNodesPerChunk nodes and about
/// kEdgesPerChunk in-edges, so that a piece's rows stay small against the layer's.
std::vector<std::size_t> chunk_ends(std::span<const LocalId> nodes, const TopologyView& topology) {
  std::vector<std::size_t> ends;
  std::int64_t edges = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    edges += topology.degree(nodes[i]);
    if (edges >= kEdgesPerChunk || i + 1 - begin == kNodesPerChunk) {
      ends.push_back(i + 1);
      begin = i + 1;
      edges = 0;
    }
  }
  if (begin < nodes.size()) ends.push_back(nodes.size());
  return ends;
}

std::vector<LocalId> all_nodes(const Shard& shard) {
  std::vector<LocalId> nodes(shard.num_nodes());
  for (std::size_t i = 0; i < nodes.size(); ++i) nodes[i] = LocalId{static_cast<std::uint32_t>(i)};
  return nodes;
}

std::span<const RowIndex> as_rows(std::span<const LocalId> nodes) {
  return {reinterpret_cast<const RowIndex*>(nodes.data()), nodes.size()};
}

}  // namespace

Evaluator::Evaluator(const Shard& shard, Model& model, SplitSampler& sampler, Context& context)
    : shard_(shard), model_(model), sampler_(sampler), context_(context) {}

Matrix Evaluator::logits(std::span<const LocalId> nodes) {
  const PhaseScope phase(context_.progress, Phase::kEvaluation);
  const std::vector<LocalId> everyone = all_nodes(shard_);
  Matrix hidden;
  for (std::size_t l = 0; l < model_.num_layers(); ++l) {
    const bool last = l + 1 == model_.num_layers();
    const ConstMatrixView input = l == 0 ? shard_.features() : std::as_const(hidden).view();
    hidden = infer_layer(l, input, last ? nodes : everyone);
  }
  return hidden;
}

Matrix Evaluator::infer_layer(std::size_t layer, ConstMatrixView input,
                              std::span<const LocalId> nodes) {
  Matrix output(context_.memory(), model_.options().dtype, static_cast<std::int64_t>(nodes.size()),
                model_.conv(layer).out_width());
  const std::vector<std::size_t> ends = chunk_ends(nodes, shard_.topology());
  const std::vector<std::uint64_t> chunks =
      context_.communicator.all_gather_value(std::uint64_t{ends.size()});
  // Every worker takes part in every exchange, with an empty piece where it has none left.
  std::size_t begin = 0;
  for (std::size_t i = 0; i < *std::max_element(chunks.begin(), chunks.end()); ++i) {
    const std::size_t end = i < ends.size() ? ends[i] : nodes.size();
    infer_chunk(layer, input, nodes.subspan(begin, end - begin),
                output.view().slice(static_cast<std::int64_t>(begin),
                                    static_cast<std::int64_t>(end - begin)));
    begin = end;
  }
  return output;
}

void Evaluator::infer_chunk(std::size_t layer, ConstMatrixView input,
                            std::span<const LocalId> nodes, MatrixView output) {
  const MiniBatch batch =
      sampler_.sample(nodes, {.fanouts = {kFullFanout}, .for_backward = false}, context_.stream);
  const SampledLayer& sampled = batch.layers.front();
  Matrix sources(context_.memory(), model_.options().dtype, sampled.block.num_sources(),
                 input.cols);
  context_.backend.sparse().gather_rows(
      {input, as_rows(batch.nodes.span()), sources.view().slice(0, sampled.block.num_own)},
      context_.stream);
  std::vector<OriginalId> ids;
  for (LocalId node : batch.nodes.span()) ids.push_back(shard_.original_ids()[value(node)]);
  model_.infer_layer(layer,
                     {.sampled = sampled,
                      .nodes = batch.nodes.span(),
                      .original_ids = ids,
                      .key = {},
                      .training = false},
                     std::move(sources), output, context_);
}

Scores Evaluator::scores() {
  const std::span<const LocalId> validation = shard_.validation_nodes();
  const std::span<const LocalId> test = shard_.test_nodes();
  std::vector<LocalId> nodes(validation.begin(), validation.end());
  nodes.insert(nodes.end(), test.begin(), test.end());
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  const Matrix result = logits(nodes);

  const auto rows_of = [&](std::span<const LocalId> split) {
    std::vector<RowIndex> rows;
    for (LocalId node : split) {
      rows.push_back(static_cast<RowIndex>(std::lower_bound(nodes.begin(), nodes.end(), node) -
                                           nodes.begin()));
    }
    return rows;
  };
  const auto score_of = [&](std::span<const LocalId> split) {
    Matrix part(context_.memory(), result.dtype(), static_cast<std::int64_t>(split.size()),
                result.cols());
    const std::vector<RowIndex> rows = rows_of(split);
    context_.backend.sparse().gather_rows({result.view(), rows, part.view()}, context_.stream);
    return score(split, part.view());
  };
  return {score_of(validation), score_of(test)};
}

Score Evaluator::score(std::span<const LocalId> nodes, ConstMatrixView logits) {
  std::vector<std::int32_t> labels;
  for (LocalId node : nodes) labels.push_back(shard_.labels()[value(node)]);
  const LossSums own =
      context_.backend.dense().cross_entropy({.logits = logits, .labels = labels}, context_.stream);
  Score total;
  for (const Score& worker :
       context_.communicator.all_gather_value(Score{nodes.size(), own.correct, own.loss})) {
    total.nodes += worker.nodes;
    total.correct += worker.correct;
    total.loss_sum += worker.loss_sum;
  }
  return total;
}

}  // namespace gsplit
