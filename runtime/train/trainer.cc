#include "runtime/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "runtime/train/class_weights.h"
#include "runtime/train/divergence.h"

namespace gsplit {
namespace {

ModelOptions model_options(const TrainConfig& config, const Shard& shard,
                           std::int64_t num_classes) {
  return {.type = config.model,
          .num_layers = static_cast<int>(config.fanout.size()),
          .in_width = shard.features().cols,
          .hidden_width = config.hidden,
          .out_width = num_classes,
          .heads = config.heads,
          .dropout = config.dropout,
          .attention_dropout = config.attn_dropout,
          .order = config.route == "project" ? Order::kTransform : order_from_name(config.order),
          .layer_norm = config.norm == "layer",
          .residual = config.residual,
          .dtype = config.precision,
          .seed = config.seed};
}

/// The part as the model sees it: without weights where it does not use them.
TopologyView topology_of(const TrainConfig& config, const Shard& shard) {
  TopologyView topology = shard.topology();
  if (!config.uses_edge_weights()) topology.edge_weights = {};
  return topology;
}

SamplerData sampler_data(const TrainConfig& config, const Shard& shard,
                         std::span<const std::uint64_t> bounds, Context& context) {
  return {sampler_from_name(config.sampler), shard.topology(), bounds, context.owners};
}

/// Nothing for the models that do not read them.
GcnScales scales_of(const TrainConfig& config, const Shard& shard, Context& context) {
  if (config.model != "gcn") return {};
  return gcn_scales(topology_of(config, shard), shard.range(), context.memory(), context.stream);
}

/// What may travel. Attention weighs each row by all others of its destination, so it has no
/// partial sums; between GPUs rows alone travel.
Route route_of(const TrainConfig& config) {
  const bool rows_only = config.model == "gat" || config.device == "cuda";
  return rows_only ? Route::kPull : route_from_name(config.route);
}

/// Bytes that a row of each layer's shuffle takes on its way, at least: where the order of
/// operations is open, the narrower of the two rows.
std::vector<std::uint64_t> row_bytes(const TrainConfig& config, Model& model) {
  std::vector<std::uint64_t> bytes;
  for (std::size_t l = 0; l < model.num_layers(); ++l) {
    const std::int64_t in = model.conv(l).in_width(), out = model.conv(l).out_width();
    const Order order = config.model == "gin" ? Order::kAggregate : model.options().order;
    const bool comes_back = l > 0 || order == Order::kTransform;
    const std::int64_t width = order == Order::kAggregate   ? in
                               : order == Order::kTransform ? out
                                                            : std::min(in, out);
    const std::uint64_t element = config.wire == "bf16" ? 2 : size_of(config.precision);
    bytes.push_back(static_cast<std::uint64_t>(width) * element * (comes_back ? 2 : 1));
  }
  return bytes;
}

/// Whose row is row i of the batch.
std::vector<OriginalId> original_ids_of(const MiniBatch& batch, const Shard& shard) {
  std::vector<OriginalId> ids;
  ids.reserve(batch.nodes.size());
  for (LocalId node : batch.nodes.span()) ids.push_back(shard.original_ids()[value(node)]);
  return ids;
}

}  // namespace

Trainer::Trainer(const TrainConfig& config, const Shard& shard,
                 const std::vector<std::uint64_t>& bounds, std::int64_t num_classes,
                 Context& context)
    : config_(config),
      shard_(shard),
      context_(context),
      sampler_(topology_of(config, shard), bounds, context.host, context.owners,
               sampler_data(config, shard, bounds, context)),
      input_rows_(config, shard, context),
      scales_(scales_of(config, shard, context)),
      model_(model_options(config, shard, num_classes), scales_, context.backend, context.stream),
      optimizer_(config, model_.parameters(), context),
      loss_(shard, class_weights(config.class_weights, shard, context), context),
      columns_(config.mode == "p3" ? own_columns(input_rows_.width(), context.communicator.rank(),
                                                 context.communicator.size())
                                   : ColumnRange{0, input_rows_.width()}) {}

DrawKey Trainer::draw_key(const StepPlan& plan) const {
  return {.seed = config_.seed, .step = static_cast<std::uint32_t>(plan.step)};
}

const MiniBatch& Trainer::sample(const StepPlan& plan) { return sample(plan, route_of(config_)); }

const MiniBatch& Trainer::sample_drawn_edges(const StepPlan& plan) {
  return sample(plan, Route::kPull);
}

const MiniBatch& Trainer::sample(const StepPlan& plan, Route route) {
  const PhaseScope phase(context_.progress, Phase::kSampling);
  batch_ = sampler_.sample(plan.seeds,
                           {.fanouts = config_.fanouts_from_input(),
                            .key = draw_key(plan),
                            .sampler = sampler_from_name(config_.sampler),
                            .invert_input = model_.needs_input_inverse(),
                            .route = route,
                            .row_bytes = row_bytes(config_, model_)},
                           context_.stream);
  return batch_;
}

StepReport Trainer::step(const StepPlan& plan, double learning_rate) {
  StepReport report;
  context_.shuffle = {};
  context_.progress.step = plan.step;
  const DrawKey key = draw_key(plan);
  {
    const Stopwatch watch(report.sample_s);
    sample(plan);
  }
  const std::vector<OriginalId> host_ids = original_ids_of(batch_, shard_);
  const DeviceArray<OriginalId> ids = context_.to_device(host_ids);
  const DeviceBatch batch(batch_, context_.memory(), context_.stream);
  std::optional<PushPull> first_layer = push_pull(key, report);
  Matrix input = load_input(ids.span(), key, report);
  {
    const PhaseScope phase(context_.progress, Phase::kCompute);
    const Stopwatch watch(report.compute_s);
    const ModelBatch model_batch{.sample = batch.get(),
                                 .original_ids = ids.span(),
                                 .key = key,
                                 .first_layer = first_layer ? &*first_layer : nullptr};
    ForwardState state;
    const Matrix logits = model_.forward(model_batch, std::move(input), state, context_);
    Matrix gradient(context_.memory(), logits.dtype(), logits.rows(), logits.cols());
    loss(plan, logits.view(), gradient.view(), report);
    if (!std::isfinite(report.loss_sum)) {
      report.bad_layer = first_bad_layer(state, batch_, logits.view(), context_);
    }
    model_.backward(model_batch, std::move(gradient), state, context_);
    reduce_gradients(report);
    optimizer_.step(learning_rate);
  }
  report.compute_s -= context_.shuffle.seconds + report.comm_s;
  report.comm_s += context_.shuffle.seconds;
  report.learning_rate = learning_rate;
  report.seeds = plan.seeds.size();
  report.edges = batch_.num_edges();
  report.plan_bytes = batch_.plan_bytes;
  report.shuffle_bytes = context_.shuffle.bytes;
  report.shuffle_bytes_pull = context_.shuffle.bytes_pull;
  context_.progress.seeds_done += plan.seeds.size();
  return report;
}

Matrix Trainer::load_input(std::span<const OriginalId> ids, DrawKey key, StepReport& report) {
  const PhaseScope phase(context_.progress, Phase::kLoading);
  const Stopwatch watch(report.load_s);
  const Block& block = batch_.layers.front().block;
  report.input_rows = block.num_own;
  report.rows_disk = block.num_own;
  const bool in_columns = columns_.size() < input_rows_.width();
  const RowIndex destinations = model_.adds_input() ? block.num_destinations : 0;
  const RowIndex own = in_columns ? destinations : block.num_own;
  Matrix input(context_.memory(), config_.precision, in_columns ? own : block.num_sources(),
               input_rows_.width());
  load_rows(batch_.nodes.span().first(own), ids.first(own), key, input.view().slice(0, own));
  return input;
}

void Trainer::load_rows(std::span<const LocalId> nodes, std::span<const OriginalId> ids,
                        DrawKey key, MatrixView rows) {
  input_rows_.load(nodes, rows);
  if (config_.input_dropout == 0) return;
  // The owner masks its rows before they travel: whoever reads a row reads the same.
  key.purpose = Purpose::kDropout;
  key.layer = 0;
  context_.backend.dense().bias_activation_dropout(
      {.values = rows, .bias = {}, .dropout = {config_.input_dropout, key}, .nodes = ids},
      context_.stream);
}

std::optional<PushPull> Trainer::push_pull(DrawKey key, StepReport& report) {
  if (columns_.size() == input_rows_.width()) return std::nullopt;
  std::vector<PushPullPart> parts;
  {
    const Stopwatch watch(report.sample_s);
    parts = share_first_layers(batch_, batch_.plan_bytes, context_);
  }
  const PhaseScope phase(context_.progress, Phase::kLoading);
  const Stopwatch watch(report.load_s);
  for (PushPullPart& part : parts) part.columns = load_columns(part.nodes, key);
  return PushPull(std::move(parts), columns_.begin);
}

Matrix Trainer::load_columns(std::span<const LocalId> nodes, DrawKey key) {
  const auto num_nodes = static_cast<std::int64_t>(nodes.size());
  Matrix columns(context_.memory(), config_.precision, num_nodes, columns_.size());
  if (!input_rows_.normalizes() && config_.input_dropout == 0) {
    input_rows_.load_columns(nodes, columns_.begin, columns.view());
    return columns;
  }
  // Both look at whole rows.
  std::vector<OriginalId> ids;
  std::vector<RowIndex> places;
  for (const LocalId node : nodes) {
    places.push_back(static_cast<RowIndex>(ids.size()));
    ids.push_back(shard_.original_ids()[value(node)]);
  }
  Matrix rows(context_.memory(), config_.precision, num_nodes, input_rows_.width());
  load_rows(nodes, ids, key, rows.view());
  context_.backend.sparse().gather_rows(
      {rows.view().columns(columns_.begin, columns_.size()), places, columns.view()},
      context_.stream);
  return columns;
}

void Trainer::loss(const StepPlan& plan, ConstMatrixView logits, MatrixView gradient,
                   StepReport& report) {
  report.loss_weight = loss_.weight(plan.seeds);
  const double weight = global_loss_weight(plan, report);
  const LossSums sums = loss_.sums(plan.seeds, logits, weight > 0 ? 1 / weight : 0, gradient);
  report.loss_sum = sums.loss;
  report.predictions = sums.predictions;
}

double Trainer::global_loss_weight(const StepPlan& plan, StepReport& report) {
  if (!loss_.weighs_nodes()) return plan.global_batch * loss_.weight_of_a_node();
  const PhaseScope phase(context_.progress, Phase::kAllReduce);
  const Stopwatch watch(report.comm_s);
  const std::vector<double> all = context_.communicator.all_gather_value(report.loss_weight);
  return std::accumulate(all.begin(), all.end(), 0.0);
}

void Trainer::reduce_gradients(StepReport& report) {
  const PhaseScope phase(context_.progress, Phase::kAllReduce);
  const Stopwatch watch(report.comm_s);
  const MatrixView gradients = model_.parameters().gradients();
  const std::uint64_t before = context_.row_traffic.bytes_sent();
  context_.row_traffic.all_reduce_sum(gradients, context_.stream);
  report.allreduce_bytes = context_.row_traffic.bytes_sent() - before;
}

}  // namespace gsplit
