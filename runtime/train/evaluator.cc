#include "runtime/train/evaluator.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/nn/shuffle.h"
#include "sampler/device_batch.h"

namespace gsplit {
namespace {

constexpr std::size_t kNodesPerChunk = 32768;
constexpr std::size_t kSampledNodesPerBatch = 1024;

/// Ends of consecutive pieces of `nodes`, each of at most kNodesPerChunk nodes and about
/// kEdgesPerPiece in-edges, so that a piece's rows stay small against the layer's.
std::vector<std::size_t> chunk_ends(std::span<const LocalId> nodes, const TopologyView& topology) {
  std::vector<std::size_t> ends;
  std::int64_t edges = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    edges += topology.degree(nodes[i]);
    if (edges >= kEdgesPerPiece || i + 1 - begin == kNodesPerChunk) {
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

MatrixView rows_between(const MatrixView& rows, std::size_t begin, std::size_t end) {
  return rows.slice(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end - begin));
}

/// Calls compute(piece, its rows of output) for each piece of own `nodes`; replicas hold the same
/// nodes, so of each round of pieces one computes one and gets the rows of the others. Every worker
/// takes part in every exchange inside, so one that has no piece left goes on with empty ones.
template <class Compute>
void for_pieces(std::span<const LocalId> nodes, const std::vector<std::size_t>& ends,
                MatrixView output, Context& context, Compute&& compute) {
  const auto replicas = static_cast<std::size_t>(context.replicas.count);
  const auto index = static_cast<std::size_t>(context.replicas.index);
  const std::vector<std::uint64_t> pieces =
      context.owners.all_gather_value(std::uint64_t{ends.size()});
  const std::uint64_t most = *std::max_element(pieces.begin(), pieces.end());
  std::size_t begin = 0;
  for (std::size_t first = 0; first < most; first += replicas) {
    std::vector<std::size_t> bounds{begin};
    for (std::size_t i = first; i < first + replicas; ++i) {
      bounds.push_back(i < ends.size() ? ends[i] : nodes.size());
    }
    compute(nodes.subspan(bounds[index], bounds[index + 1] - bounds[index]),
            rows_between(output, bounds[index], bounds[index + 1]));
    share_rows(bounds, output, context);
    begin = bounds.back();
  }
}

/// Where the nodes of a split stand in `nodes`, which ascend and hold them all.
std::vector<RowIndex> rows_of(std::span<const LocalId> split, std::span<const LocalId> nodes) {
  std::vector<RowIndex> rows;
  for (LocalId node : split) {
    const auto place = std::lower_bound(nodes.begin(), nodes.end(), node);
    rows.push_back(static_cast<RowIndex>(place - nodes.begin()));
  }
  return rows;
}

}  // namespace

/// A batch where the model computes, wherever it was drawn.
class Evaluator::Drawn {
 public:
  /// `device`: null where the batch is in host memory.
  Drawn(MiniBatch batch, const Shard& shard, const DeviceData* device, Context& context)
      : sample_(std::move(batch)) {
    if (device != nullptr) {
      ids_ = device->original_ids(sample_.nodes.span(), context);
      return;
    }
    copied_.emplace(sample_, context.memory(), context.stream);
    for (LocalId node : sample_.nodes.span()) {
      host_ids_.push_back(shard.original_ids()[value(node)]);
    }
    copied_ids_ = context.to_device(host_ids_);
  }
  Drawn(const Drawn&) = delete;
  Drawn& operator=(const Drawn&) = delete;

  const MiniBatch& batch() const { return copied_ ? copied_->get() : sample_; }
  std::span<const OriginalId> original_ids() const {
    return copied_ ? copied_ids_.span() : ids_.span();
  }
  /// Own nodes as they were drawn: in host memory, or on the device.
  std::span<const LocalId> nodes() const { return sample_.nodes.span(); }

 private:
  MiniBatch sample_;
  Buffer<OriginalId> ids_;
  std::optional<DeviceBatch> copied_;
  std::vector<OriginalId> host_ids_;
  DeviceArray<OriginalId> copied_ids_;
};

Evaluator::Drawn Evaluator::draw(std::span<const LocalId> nodes, const SampleOptions& options) {
  return {sampler_.sample(nodes, options, context_.stream), shard_, options_.device, context_};
}

void Evaluator::load(const Drawn& drawn, MatrixView rows) {
  if (options_.device != nullptr) return input_.load_for_device(drawn.nodes(), rows);
  input_.load(drawn.nodes(), rows);
}

Evaluator::Evaluator(const EvaluatorOptions& options, const Shard& shard, InputRows& input,
                     Model& model, SplitSampler& sampler, Context& context)
    : options_(options),
      shard_(shard),
      input_(input),
      model_(model),
      sampler_(sampler),
      context_(context),
      loss_(shard, {}, context),
      layer_memory_(context.memory(), {.local_workers = options.local_workers}) {}

Matrix Evaluator::embeddings() {
  GSPLIT_CHECK(model_.num_layers() >= 2);
  const PhaseScope phase(context_.progress, Phase::kEvaluation);
  const std::vector<LocalId> everyone = all_nodes(shard_);
  Matrix hidden;
  for (std::size_t l = 0; l + 1 < model_.num_layers(); ++l) {
    hidden = infer_layer(l, hidden, everyone, layer_memory_);
  }
  return hidden;
}

Matrix Evaluator::logits(std::span<const LocalId> nodes) {
  return logits(nodes, model_.num_layers() > 1 ? embeddings() : Matrix());
}

Matrix Evaluator::logits(std::span<const LocalId> nodes, const Matrix& embeddings) {
  const PhaseScope phase(context_.progress, Phase::kEvaluation);
  return infer_layer(model_.num_layers() - 1, embeddings, nodes, context_.memory());
}

Matrix Evaluator::infer_layer(std::size_t layer, const Matrix& input,
                              std::span<const LocalId> nodes, Memory& memory) {
  Matrix output(memory, model_.parameters().dtype(), static_cast<std::int64_t>(nodes.size()),
                model_.conv(layer).out_width());
  for_pieces(nodes, chunk_ends(nodes, shard_.topology()), output.view(), context_,
             [&](std::span<const LocalId> piece, MatrixView rows) {
               infer_chunk(layer, input, piece, rows);
             });
  return output;
}

void Evaluator::infer_chunk(std::size_t layer, const Matrix& input, std::span<const LocalId> nodes,
                            MatrixView output) {
  const ExactWire exact(context_);
  const Drawn drawn = draw(nodes, {.fanouts = {kFullFanout}, .for_backward = false});
  const SampledLayer& sampled = drawn.batch().layers.front();
  Matrix sources(context_.memory(), model_.parameters().dtype(), sampled.block.num_sources(),
                 layer == 0 ? input_.width() : input.cols());
  const MatrixView own = sources.view().slice(0, sampled.block.num_own);
  if (layer == 0) {
    load(drawn, own);
  } else {
    context_.backend.sparse().gather_rows({input.view(), as_rows(drawn.batch().nodes.span()), own},
                                          context_.stream);
  }
  model_.infer_layer(layer,
                     {.sampled = sampled,
                      .nodes = drawn.batch().nodes.span(),
                      .original_ids = drawn.original_ids(),
                      .key = {},
                      .training = false},
                     std::move(sources), output, context_);
}

Matrix Evaluator::sampled_logits(std::span<const LocalId> nodes) {
  const PhaseScope phase(context_.progress, Phase::kEvaluation);
  Matrix output(context_.memory(), model_.parameters().dtype(),
                static_cast<std::int64_t>(nodes.size()), model_.options().out_width);
  std::vector<std::size_t> ends;
  for (std::size_t begin = 0; begin < nodes.size(); begin += kSampledNodesPerBatch) {
    ends.push_back(std::min(begin + kSampledNodesPerBatch, nodes.size()));
  }
  for_pieces(nodes, ends, output.view(), context_,
             [&](std::span<const LocalId> piece, MatrixView rows) { sampled_batch(piece, rows); });
  return output;
}

void Evaluator::sampled_batch(std::span<const LocalId> nodes, MatrixView output) {
  const ExactWire exact(context_);
  const DrawKey key{.seed = options_.seed, .purpose = Purpose::kEvaluation};
  const Drawn drawn = draw(nodes, {.fanouts = {options_.fanout.rbegin(), options_.fanout.rend()},
                                   .key = key,
                                   .sampler = options_.sampler,
                                   .for_backward = false});
  const Block& block = drawn.batch().layers.front().block;
  Matrix input(context_.memory(), model_.parameters().dtype(), block.num_sources(), input_.width());
  load(drawn, input.view().slice(0, block.num_own));
  ForwardState state;
  const Matrix logits = model_.forward({.sample = drawn.batch(),
                                        .original_ids = drawn.original_ids(),
                                        .key = key,
                                        .training = false},
                                       std::move(input), state, context_);
  context_.memory().copy(output.data, logits.view().data, logits.bytes(), context_.stream);
}

Scores Evaluator::scores() {
  const std::vector<Score> both = scores({shard_.validation_nodes(), shard_.test_nodes()});
  return {both[0], both[1]};
}

std::vector<Score> Evaluator::scores(const std::vector<std::span<const LocalId>>& splits) {
  std::vector<LocalId> nodes;
  for (std::span<const LocalId> split : splits) {
    nodes.insert(nodes.end(), split.begin(), split.end());
  }
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  const Matrix result = options_.fanout.empty() ? logits(nodes) : sampled_logits(nodes);

  std::vector<Score> scores;
  for (std::span<const LocalId> split : splits) {
    Matrix part(context_.memory(), result.dtype(), static_cast<std::int64_t>(split.size()),
                result.cols());
    const std::vector<RowIndex> host_rows = rows_of(split, nodes);
    const DeviceArray<RowIndex> rows = context_.to_device(host_rows);
    context_.backend.sparse().gather_rows({result.view(), rows.span(), part.view()},
                                          context_.stream);
    scores.push_back(score(split, part.view()));
  }
  return scores;
}

Score Evaluator::score(std::span<const LocalId> nodes, ConstMatrixView logits) {
  const LossSums own = loss_.sums(nodes, logits);
  Score total;
  for (const Score& worker :
       context_.owners.all_gather_value(Score{nodes.size(), own.predictions, own.loss})) {
    total.nodes += worker.nodes;
    total.predictions += worker.predictions;
    total.loss_sum += worker.loss_sum;
  }
  return total;
}

}  // namespace gsplit
