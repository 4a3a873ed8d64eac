#include "runtime/train/step_preparer.h"

#include <numeric>
#include <utility>

#include "runtime/train/hot_rows.h"

namespace gsplit {

TopologyView topology_of(const TrainConfig& config, const Shard& shard) {
  TopologyView topology = shard.topology();
  if (!config.uses_edge_weights()) topology.edge_weights = {};
  return topology;
}

Route route_of(const TrainConfig& config) {
  const bool rows_only =
      config.model == "gat" || (config.device == "cuda" && config.route == "auto");
  return rows_only ? Route::kPull : route_from_name(config.route);
}

Cover cover_of(const TrainConfig& config) {
  const bool linear =
      config.cover == "linear" || (config.cover == "auto" && config.device == "cuda");
  return linear ? Cover::kLinear : Cover::kExact;
}

namespace {

SamplerData make_sampler_data(const TrainConfig& config, const Shard& shard,
                              std::span<const std::uint64_t> bounds, Context& context) {
  return {sampler_from_name(config.sampler), shard.topology(), bounds, context.owners};
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

ColumnRange columns_of(const TrainConfig& config, const Shard& shard, const Context& context) {
  const std::int64_t width = shard.features().cols;
  if (config.mode != "p3") return {0, width};
  return own_columns(width, context.communicator.rank(), context.communicator.size());
}

/// Both look at whole rows.
bool changes_rows(const TrainConfig& config) {
  return config.normalize_features == "row" || config.input_dropout > 0;
}

DeviceDataOptions options_with(ColumnRange columns, const TrainConfig& config, const Shard& shard) {
  DeviceDataOptions options = device_data_options(config);
  if (columns.size() < shard.features().cols && !changes_rows(config)) options.columns = columns;
  return options;
}

}  // namespace

// Not what the host does in any case, since it keeps copies of other workers' rows.
DeviceDataOptions device_data_options(const TrainConfig& config) {
  const bool host_keeps_rows = config.cache != "none";
  const bool host_samples = host_keeps_rows && config.mode != "data";
  return {.share = config.gpu_data,
          .graph = host_samples ? DataPlace::kHost
                                : data_place_from_name(config.gpu_graph, "--gpu-graph"),
          .features = host_keeps_rows ? DataPlace::kHost
                                      : data_place_from_name(config.gpu_features, "--gpu-features"),
          // Slices of p3's rows are no whole rows, which caches have.
          .cache = config.mode == "p3" ? 0.0 : config.gpu_cache_share()};
}

StepPreparer::StepPreparer(const TrainConfig& config, const Shard& shard,
                           const std::vector<std::uint64_t>& bounds, Context& context,
                           const Hotness& hotness)
    : config_(config),
      shard_(shard),
      context_(context),
      sampler_data_(make_sampler_data(config, shard, bounds, context)),
      sampler_(topology_of(config, shard), bounds, context.host, context.owners,
               sampler_data_.view()),
      columns_(columns_of(config, shard, context)),
      device_data_(options_with(columns_, config, shard), shard, topology_of(config, shard),
                   sampler_data_.view(), hotness.loads, context),
      input_rows_(config, shard, device_data_.features(), context),
      copies_(make_copies(config, shard, bounds, hotness.reads, context)),
      cache_(make_cache(config, shard, hotness.reads, input_rows_.shard_rows(), context)) {
  if (const DeviceTopology* const there = device_data_.topology()) {
    device_sampler_.emplace(there->topology(), bounds, context.backend, context.owners,
                            there->data());
  }
  context.stream.synchronize();  // others read what is on the device by streams of their own
}

std::unique_ptr<PreparedStep> StepPreparer::prepare(const StepPlan& plan, const ModelNeeds& needs) {
  auto step = std::make_unique<PreparedStep>();
  context_.shuffle = {};
  context_.progress.step = plan.step;
  if (Tracer* const tracer = context_.progress.tracer) tracer->note_step(plan.step);
  step->plan = plan;
  step->key = draw_key(plan);
  {
    const Stopwatch watch(step->report.sample_s);
    const DeviceRange range(context_.backend, "sample");
    step->sample = sample(plan, needs);
  }
  if (!samples_on_device()) step->copied.emplace(step->sample, context_.memory(), context_.stream);
  step->original_ids = original_ids(step->sample);
  step->first_layer = push_pull(*step);
  step->input = load_input(*step, needs);
  step->report.seeds = plan.seeds.size();
  step->report.edges = step->sample.num_edges();
  step->report.plan_bytes += step->sample.plan_bytes;
  step->shuffle = context_.shuffle;
  step->ready = context_.memory().create_event();
  step->done = context_.memory().create_event();
  context_.stream.record(*step->ready);
  return step;
}

void StepPreparer::retire(std::unique_ptr<PreparedStep> step) { context_.stream.wait(*step->done); }

DrawKey StepPreparer::draw_key(const StepPlan& plan) const {
  return {.seed = config_.seed, .step = static_cast<std::uint32_t>(plan.step)};
}

std::uint64_t StepPreparer::cache_bytes() const {
  return (copies_ ? copies_->bytes() : 0) + (cache_ ? cache_->bytes() : 0);
}

MiniBatch StepPreparer::sample(const StepPlan& plan, const ModelNeeds& needs) {
  return sample(plan, needs, Use::kTraining);
}

MiniBatch StepPreparer::sample_drawn_edges(const StepPlan& plan, const ModelNeeds& needs) {
  MiniBatch drawn = sample(plan, needs, Use::kDrawnEdges);
  if (!samples_on_device()) return drawn;
  return to_host(drawn, context_.memory(), context_.backend.pinned(), context_.stream);
}

MiniBatch StepPreparer::sample(const StepPlan& plan, const ModelNeeds& needs, Use use) {
  const bool trains = use == Use::kTraining;
  const PhaseScope phase(context_.progress, Phase::kSampling);
  return sampler().sample(plan.seeds,
                          {.fanouts = config_.fanouts_from_input(),
                           .key = draw_key(plan),
                           .sampler = sampler_from_name(config_.sampler),
                           .invert_input = needs.invert_input,
                           .route = trains ? route_of(config_) : Route::kPull,
                           .cover = cover_of(config_),
                           .row_bytes = needs.row_bytes,
                           .copies = trains && copies_ ? &copies_->nodes() : nullptr,
                           .tracer = context_.progress.tracer},
                          context_.stream);
}

Buffer<OriginalId> StepPreparer::original_ids(const MiniBatch& sample) {
  if (!samples_on_device()) return upload_original_ids(sample.nodes.span());
  return device_data_.original_ids(sample.nodes.span(), context_);
}

Buffer<OriginalId> StepPreparer::upload_original_ids(std::span<const LocalId> nodes) {
  Buffer<OriginalId> host(context_.backend.pinned(), nodes.size());
  for (std::size_t i = 0; i < host.size(); ++i) {
    host.data()[i] =
        copies_ ? copies_->original_id(nodes[i]) : shard_.original_ids()[value(nodes[i])];
  }
  if (context_.memory().host_accessible()) return host;
  Buffer<OriginalId> ids(context_.memory(), host.size());
  context_.memory().copy(ids.data(), host.data(), host.span().size_bytes(), context_.stream);
  return ids;
}

Matrix StepPreparer::load_input(PreparedStep& step, const ModelNeeds& needs) {
  const PhaseScope phase(context_.progress, Phase::kLoading);
  const DeviceRange range(context_.backend, "load");
  StepReport& report = step.report;
  const Stopwatch watch(report.load_s);
  const Block& block = step.sample.layers.front().block;
  const std::span<const LocalId> nodes = step.sample.nodes.span();
  report.input_rows = block.num_needed();
  report.rows_cache = block.num_spared;
  // What a GPU has in its memory is a cache of what the shard has.
  (device_data_.holds_features() ? report.rows_cache : report.rows_disk) += block.num_owned();
  report.rows_copied = block.num_copies;
  const bool in_columns = columns_.size() < input_rows_.width();
  const RowIndex destinations = needs.adds_input ? block.num_destinations : 0;
  const RowIndex own = in_columns ? destinations : block.num_own;
  report.bus_bytes += own * device_data_.bus_bytes_of_whole_row(sent_dtype());
  Matrix input(context_.memory(), config_.precision, in_columns ? own : block.num_sources(),
               input_rows_.width());
  const MatrixView rows = input.view().slice(0, own);
  if (in_columns) {
    load_destinations(nodes.first(own), rows);
  } else {
    load_batch_rows(step, needs, rows);
  }
  mask(step.original_ids.span().first(own), step.key, rows);
  return input;
}

void StepPreparer::load_destinations(std::span<const LocalId> nodes, MatrixView rows) {
  if (samples_on_device()) return input_rows_.load_for_device(nodes, rows);
  input_rows_.load(nodes, rows);
}

DType StepPreparer::sent_dtype() const {
  return input_rows_.normalizes() ? compute_dtype(config_.precision) : config_.precision;
}

void StepPreparer::mask(std::span<const OriginalId> ids, DrawKey key, MatrixView rows) {
  if (config_.input_dropout == 0) return;
  // The owner masks its rows before they travel, and masks depend on nothing but the node: whoever
  // reads a row, or a copy of it, reads the same.
  key.purpose = Purpose::kDropout;
  key.layer = 0;
  context_.backend.dense().bias_activation_dropout(
      {.values = rows, .bias = {}, .dropout = {config_.input_dropout, key}, .nodes = ids},
      context_.stream);
}

void StepPreparer::load_batch_rows(PreparedStep& step, const ModelNeeds& needs, MatrixView rows) {
  const std::span<const LocalId> nodes = step.sample.nodes.span();
  StepReport& report = step.report;
  if (copies_) {
    CopiedRowReader reader(*copies_, shard_.num_nodes(), input_rows_.shard_rows(), context_);
    input_rows_.load(nodes, reader, rows);
  } else if (cache_) {
    load_from_cache(nodes, rows);
    const RowsRead& read = cache_->counts();
    report.rows_cache = read.cache;
    report.rows_remote = read.remote;
    report.rows_disk = read.disk;
    report.plan_bytes = read.id_bytes;
  } else {
    load_own_rows(step, needs, rows);
  }
}

bool StepPreparer::leaves_rows_in_cache(const ModelNeeds& needs) const {
  return needs.matrix_rows != MatrixRows::kAll && input_rows_.has_places(config_.precision) &&
         config_.input_dropout == 0 && config_.spmm == "own";
}

void StepPreparer::load_own_rows(PreparedStep& step, const ModelNeeds& needs, MatrixView rows) {
  Memory& memory = context_.memory();
  Buffer<std::uint64_t> hits(memory, input_rows_.has_cache() ? 1 : 0);
  memory.fill_zero(hits.data(), hits.span().size_bytes(), context_.stream);
  const Block& block = step.sample.layers.front().block;
  CacheUse use{.hits = hits.span()};
  const bool sends_sums = step.sample.layers.front().plan.sends_sums();
  if (leaves_rows_in_cache(needs) && !sends_sums) {
    step.places = Buffer<const void*>(memory, block.num_sources());
    use.places = step.places.span();
    use.first_placed = needs.matrix_rows == MatrixRows::kNone ? 0 : block.num_destinations;
  }
  const std::span<const LocalId> nodes = step.sample.nodes.span();
  if (samples_on_device()) {
    input_rows_.load_for_device(nodes, rows, use);
  } else {
    input_rows_.load(nodes, rows, use);
  }
  step.hits = Buffer<std::uint64_t>(context_.backend.pinned(), hits.size());
  memory.copy(step.hits.data(), hits.data(), hits.span().size_bytes(), context_.stream);
}

void StepPreparer::load_from_cache(std::span<const LocalId> nodes, MatrixView rows) {
  if (!samples_on_device()) return input_rows_.load(nodes, *cache_, rows);
  input_rows_.load(read_back(nodes, context_.memory(), context_.stream), *cache_, rows);
}

std::optional<PushPull> StepPreparer::push_pull(PreparedStep& step) {
  if (columns_.size() == input_rows_.width()) return std::nullopt;
  std::vector<PushPullPart> parts;
  {
    const Stopwatch watch(step.report.sample_s);
    parts = share_first_layers(step.sample, step.sample.plan_bytes, context_);
  }
  const PhaseScope phase(context_.progress, Phase::kLoading);
  const Stopwatch watch(step.report.load_s);
  for (PushPullPart& part : parts) {
    part.columns = load_columns(part.nodes.span(), step.key);
    step.report.bus_bytes += part.nodes.size() * device_data_.bus_bytes_of_row(sent_dtype());
  }
  return PushPull(std::move(parts), columns_.begin);
}

Matrix StepPreparer::load_columns(std::span<const LocalId> nodes, DrawKey key) {
  Matrix columns(context_.memory(), config_.precision, static_cast<std::int64_t>(nodes.size()),
                 columns_.size());
  const ConstMatrixView there = device_data_.columns();
  if (changes_rows(config_)) {
    cut_columns(nodes, key, columns.view());
  } else if (there.rows > 0) {
    context_.backend.sparse().gather_rows({there, as_rows(nodes), columns.view()}, context_.stream);
  } else {
    input_rows_.load_columns(nodes, columns_.begin, columns.view());
  }
  return columns;
}

void StepPreparer::cut_columns(std::span<const LocalId> nodes, DrawKey key, MatrixView columns) {
  Matrix rows(context_.memory(), config_.precision, columns.rows, input_rows_.width());
  input_rows_.load_for_device(nodes, rows.view());
  if (config_.input_dropout > 0) {
    const Buffer<OriginalId> ids =
        samples_on_device()
            ? device_data_.original_ids(nodes, context_)
            : upload_original_ids(read_back(nodes, context_.memory(), context_.stream));
    mask(ids.span(), key, rows.view());
  }
  std::vector<RowIndex> places(nodes.size());
  std::iota(places.begin(), places.end(), RowIndex{0});
  const DeviceArray<RowIndex> all = context_.to_device(places);
  context_.backend.sparse().gather_rows(
      {rows.view().columns(columns_.begin, columns_.size()), all.span(), columns}, context_.stream);
}

}  // namespace gsplit
