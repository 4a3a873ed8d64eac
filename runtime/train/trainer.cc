#include "runtime/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "runtime/train/class_weights.h"
#include "runtime/train/divergence.h"
#include "runtime/train/hot_rows.h"
#include "runtime/train/resources.h"

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

SamplerData make_sampler_data(const TrainConfig& config, const Shard& shard,
                              std::span<const std::uint64_t> bounds, Context& context) {
  return {sampler_from_name(config.sampler), shard.topology(), bounds, context.owners};
}

/// Nothing for the models that do not read them.
GcnScales scales_of(const TrainConfig& config, const Shard& shard, const RemoteCopies* copies,
                    Context& context) {
  if (config.model != "gcn") return {};
  InverseRootsOfCopies of_copies;
  if (copies != nullptr) {
    of_copies = [copies](std::span<const double> own) { return copies->fetch(own); };
  }
  return gcn_scales(topology_of(config, shard), shard.range(), context.memory(), context.stream,
                    of_copies);
}

std::unique_ptr<RemoteCopies> make_copies(const TrainConfig& config, const Shard& shard,
                                          const std::vector<std::uint64_t>& bounds,
                                          const ReadCounts* reads, Context& context) {
  if (reads == nullptr || config.mode == "data") return nullptr;
  return std::make_unique<RemoteCopies>(
      hottest_elsewhere(reads->of(shard.part()),
                        rows_within(config.cache_budget, shard.num_nodes()), shard.range()),
      bounds, shard, context);
}

std::unique_ptr<FeatureCache> make_cache(const TrainConfig& config, const Shard& shard,
                                         const ReadCounts* reads, RowReader& shard_rows,
                                         Context& context) {
  if (reads == nullptr || config.mode != "data") return nullptr;
  const bool spread = config.cache == "partition";
  const std::size_t kept = rows_within(config.cache_budget, shard.num_nodes());
  const std::size_t places = spread ? static_cast<std::size_t>(context.communicator.size()) : 1;
  return std::make_unique<FeatureCache>(
      hottest(reads->of(0), kept * places),
      spread ? CachePlacement::kOneWorker : CachePlacement::kEveryWorker, shard, shard_rows,
      context);
}

/// What may travel. Attention weighs each row by all others of its destination, so it has no
/// partial sums. Where a GPU samples rows travel unless sums are asked for, since the host would
/// have to sample then.
Route route_of(const TrainConfig& config) {
  const bool rows_only =
      config.model == "gat" || (config.device == "cuda" && config.route == "auto");
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

/// What the GPU is to read: not what the host does in any case, since it keeps copies of other
/// workers' rows or makes sums of rows travel.
DeviceDataOptions device_data_options(const TrainConfig& config, const ReadCounts* reads) {
  const bool host_samples =
      (reads != nullptr && config.mode != "data") || route_of(config) != Route::kPull;
  return {.share = config.gpu_data,
          .graph = host_samples ? DataPlace::kHost
                                : data_place_from_name(config.gpu_graph, "--gpu-graph"),
          .features = reads != nullptr
                          ? DataPlace::kHost
                          : data_place_from_name(config.gpu_features, "--gpu-features")};
}

}  // namespace

Trainer::Trainer(const TrainConfig& config, const Shard& shard,
                 const std::vector<std::uint64_t>& bounds, std::int64_t num_classes,
                 Context& context, const ReadCounts* reads)
    : config_(config),
      shard_(shard),
      context_(context),
      sampler_data_(make_sampler_data(config, shard, bounds, context)),
      sampler_(topology_of(config, shard), bounds, context.host, context.owners,
               sampler_data_.view()),
      device_data_(device_data_options(config, reads), shard, topology_of(config, shard),
                   sampler_data_.view(), context),
      input_rows_(config, shard, device_data_.features(), context),
      copies_(make_copies(config, shard, bounds, reads, context)),
      cache_(make_cache(config, shard, reads, input_rows_.shard_rows(), context)),
      scales_(scales_of(config, shard, copies_.get(), context)),
      model_(model_options(config, shard, num_classes), scales_, context.backend, context.stream),
      optimizer_(config, model_.parameters(), context),
      loss_(shard, class_weights(config.class_weights, shard, context), context),
      columns_(config.mode == "p3" ? own_columns(input_rows_.width(), context.communicator.rank(),
                                                 context.communicator.size())
                                   : ColumnRange{0, input_rows_.width()}) {
  if (const DeviceTopology* const there = device_data_.topology()) {
    device_sampler_.emplace(there->topology(), bounds, context.backend, context.owners,
                            there->data());
  }
}

DrawKey Trainer::draw_key(const StepPlan& plan) const {
  return {.seed = config_.seed, .step = static_cast<std::uint32_t>(plan.step)};
}

std::uint64_t Trainer::cache_bytes() const {
  return (copies_ ? copies_->bytes() : 0) + (cache_ ? cache_->bytes() : 0);
}

const MiniBatch& Trainer::sample(const StepPlan& plan) { return sample(plan, Use::kTraining); }

const MiniBatch& Trainer::sample_drawn_edges(const StepPlan& plan) {
  sample(plan, Use::kDrawnEdges);
  if (samples_on_device()) {
    batch_ = to_host(batch_, context_.memory(), context_.backend.pinned(), context_.stream);
  }
  return batch_;
}

const MiniBatch& Trainer::sample(const StepPlan& plan, Use use) {
  const bool trains = use == Use::kTraining;
  const PhaseScope phase(context_.progress, Phase::kSampling);
  SplitSampler& sampler = samples_on_device() ? *device_sampler_ : sampler_;
  batch_ = sampler.sample(plan.seeds,
                          {.fanouts = config_.fanouts_from_input(),
                           .key = draw_key(plan),
                           .sampler = sampler_from_name(config_.sampler),
                           .invert_input = model_.needs_input_inverse(),
                           .route = trains ? route_of(config_) : Route::kPull,
                           .row_bytes = row_bytes(config_, model_),
                           .copies = trains && copies_ ? &copies_->nodes() : nullptr,
                           .tracer = context_.progress.tracer},
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
  const MiniBatch& batch = batch_on_device();
  const Buffer<OriginalId> ids = original_ids();
  std::optional<PushPull> first_layer = push_pull(key, report);
  Matrix input = load_input(ids.span(), key, report);
  {
    const PhaseScope phase(context_.progress, Phase::kCompute);
    const Stopwatch watch(report.compute_s);
    const ModelBatch model_batch{.sample = batch,
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
  report.plan_bytes += batch_.plan_bytes;
  report.traffic = context_.shuffle.layers;
  report.peak_rss_bytes = peak_rss_bytes();
  context_.progress.seeds_done += plan.seeds.size();
  context_.progress.busy_s += report.load_s + report.compute_s;
  return report;
}

const MiniBatch& Trainer::batch_on_device() {
  if (samples_on_device()) return batch_;
  copied_batch_.emplace(batch_, context_.memory(), context_.stream);
  return copied_batch_->get();
}

Buffer<OriginalId> Trainer::original_ids() {
  if (!samples_on_device()) {
    Buffer<OriginalId> host(context_.backend.pinned(), batch_.nodes.size());
    for (std::size_t i = 0; i < host.size(); ++i) {
      const LocalId node = batch_.nodes.span()[i];
      host.data()[i] = copies_ ? copies_->original_id(node) : shard_.original_ids()[value(node)];
    }
    if (context_.memory().host_accessible()) return host;
    Buffer<OriginalId> ids(context_.memory(), host.size());
    context_.memory().copy(ids.data(), host.data(), host.span().size_bytes(), context_.stream);
    return ids;
  }
  Buffer<OriginalId> ids(context_.memory(), batch_.nodes.size());
  // An id is as wide as a double, and gathering copies bits.
  const std::span<const OriginalId> all = device_data_.topology()->topology().original_ids;
  context_.backend.sparse().gather_rows(
      {{all.data(), DType::kF64, static_cast<std::int64_t>(all.size()), 1, 1},
       as_rows(batch_.nodes.span()),
       {ids.data(), DType::kF64, static_cast<std::int64_t>(ids.size()), 1, 1}},
      context_.stream);
  return ids;
}

Matrix Trainer::load_input(std::span<const OriginalId> ids, DrawKey key, StepReport& report) {
  const PhaseScope phase(context_.progress, Phase::kLoading);
  const Stopwatch watch(report.load_s);
  const Block& block = batch_.layers.front().block;
  report.input_rows = block.num_needed();
  report.rows_cache = block.num_spared;
  // What a GPU has in its memory is a cache of what the shard has.
  (device_data_.holds_features() ? report.rows_cache : report.rows_disk) += block.num_owned();
  report.rows_copied = block.num_copies;
  const bool in_columns = columns_.size() < input_rows_.width();
  const RowIndex destinations = model_.adds_input() ? block.num_destinations : 0;
  const RowIndex own = in_columns ? destinations : block.num_own;
  Matrix input(context_.memory(), config_.precision, in_columns ? own : block.num_sources(),
               input_rows_.width());
  const MatrixView rows = input.view().slice(0, own);
  if (in_columns) {
    input_rows_.load(batch_.nodes.span().first(own), rows);
  } else {
    load_batch_rows(rows, report);
  }
  mask(ids.first(own), key, rows);
  return input;
}

void Trainer::mask(std::span<const OriginalId> ids, DrawKey key, MatrixView rows) {
  if (config_.input_dropout == 0) return;
  // The owner masks its rows before they travel, and masks depend on nothing but the node: whoever
  // reads a row, or a copy of it, reads the same.
  key.purpose = Purpose::kDropout;
  key.layer = 0;
  context_.backend.dense().bias_activation_dropout(
      {.values = rows, .bias = {}, .dropout = {config_.input_dropout, key}, .nodes = ids},
      context_.stream);
}

void Trainer::load_batch_rows(MatrixView rows, StepReport& report) {
  if (copies_) {
    CopiedRowReader reader(*copies_, shard_.num_nodes(), input_rows_.shard_rows(), context_);
    input_rows_.load(batch_.nodes.span(), reader, rows);
  } else if (cache_) {
    load_from_cache(rows);
    const RowsRead& read = cache_->counts();
    report.rows_cache = read.cache;
    report.rows_remote = read.remote;
    report.rows_disk = read.disk;
    report.plan_bytes = read.id_bytes;
  } else if (samples_on_device()) {
    input_rows_.load_for_device(batch_.nodes.span(), rows);
  } else {
    input_rows_.load(batch_.nodes.span(), rows);
  }
}

void Trainer::load_from_cache(MatrixView rows) {
  if (!samples_on_device()) return input_rows_.load(batch_.nodes.span(), *cache_, rows);
  const std::span<const LocalId> nodes = batch_.nodes.span();
  input_rows_.load(read_back(nodes, context_.memory(), context_.stream), *cache_, rows);
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
  input_rows_.load(nodes, rows.view());
  mask(ids, key, rows.view());
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
  TraceSpan span(context_.progress.tracer, "gradients");
  const std::uint64_t before = context_.row_traffic.bytes_sent();
  context_.row_traffic.all_reduce_sum(gradients, context_.stream);
  report.allreduce_bytes = context_.row_traffic.bytes_sent() - before;
  span.set_bytes(report.allreduce_bytes);
}

}  // namespace gsplit
