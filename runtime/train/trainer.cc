#include "runtime/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "runtime/train/class_weights.h"
#include "runtime/train/divergence.h"
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

}  // namespace

Trainer::Trainer(const TrainConfig& config, const Shard& shard,
                 const std::vector<std::uint64_t>& bounds, std::int64_t num_classes,
                 Context& context, const TrainerOptions& options)
    : config_(config),
      context_(context),
      preparer_(config, shard, bounds, options.ahead != nullptr ? *options.ahead : context,
                options.hotness),
      input_rows_(config, shard, preparer_.device_data().features(), context,
                  &preparer_.input_rows()),
      scales_(scales_of(config, shard, preparer_.copies(), context)),
      model_(model_options(config, shard, num_classes), scales_, context.backend, context.stream),
      needs_{.invert_input = model_.needs_input_inverse(),
             .adds_input = model_.adds_input(),
             .matrix_rows = model_.matrix_rows(),
             .row_bytes = row_bytes(config, model_)},
      optimizer_(config, model_.parameters(), context),
      loss_(shard, class_weights(config.class_weights, shard, context), context),
      steps_(preparer_, needs_, options.ahead != nullptr) {
  if (options.ahead == nullptr) return;
  if (const DeviceTopology* const there = preparer_.device_data().topology()) {
    sampler_.emplace(there->topology(), bounds, context.backend, context.owners, there->data());
  } else {
    sampler_.emplace(topology_of(config, shard), bounds, context.host, context.owners,
                     preparer_.sampler_data().view());
  }
}

MiniBatch Trainer::sample(const StepPlan& plan) { return preparer_.sample(plan, needs_); }

MiniBatch Trainer::sample_drawn_edges(const StepPlan& plan) {
  return preparer_.sample_drawn_edges(plan, needs_);
}

StepReport Trainer::step(const StepPlan& plan, double learning_rate) {
  if (steps_.empty()) steps_.ask(plan);
  StepReport report;
  PreparedStep& prepared = take(plan, report);
  context_.shuffle = prepared.shuffle;
  context_.progress.step = plan.step;
  context_.stream.wait(*prepared.ready);
  compute(prepared, learning_rate, report);
  count_hits(prepared, report);
  context_.stream.record(*prepared.done);
  steps_.give_back();
  report.traffic = context_.shuffle.layers;
  report.peak_rss_bytes = peak_rss_bytes();
  report.device_bytes = device_bytes();
  context_.progress.device_bytes = report.device_bytes;
  context_.progress.seeds_done += plan.seeds.size();
  // What another thread loads is no time of this one.
  context_.progress.busy_s += report.compute_s + (steps_.has_thread() ? 0 : report.load_s);
  return report;
}

std::uint64_t Trainer::device_bytes() {
  const Memory& ours = context_.memory();
  const Memory& ahead = preparer_.context().memory();
  return ours.held() + (&ahead != &ours ? ahead.held() : 0);
}

PreparedStep& Trainer::take(const StepPlan& plan, StepReport& report) {
  double waited = 0;
  PreparedStep* prepared = nullptr;
  {
    const TraceSpan span(steps_.has_thread() ? context_.progress.tracer : nullptr,
                         "waiting for the step");
    const Stopwatch watch(waited);
    prepared = &steps_.take(context_.progress);
  }
  GSPLIT_CHECK(prepared->plan.step == plan.step);
  report = prepared->report;
  report.prepare_wait_s = steps_.has_thread() ? waited : 0;
  return *prepared;
}

void Trainer::count_hits(const PreparedStep& prepared, StepReport& report) {
  if (prepared.hits.size() == 0) return;
  // Who has waited for a loss has waited for the rows; without seeds nobody has.
  if (prepared.plan.seeds.empty()) context_.stream.synchronize();
  const std::uint64_t hits = prepared.hits.span().front();
  report.rows_cache += hits;
  report.rows_disk -= hits;
  report.bus_bytes -= hits * preparer_.device_data().bus_bytes_of_row(config_.precision);
}

void Trainer::compute(PreparedStep& prepared, double learning_rate, StepReport& report) {
  const PhaseScope phase(context_.progress, Phase::kCompute);
  const DeviceRange range(context_.backend, "compute");
  {
    const Stopwatch watch(report.compute_s);
    const ModelBatch batch{.sample = prepared.batch(),
                           .original_ids = prepared.original_ids.span(),
                           .key = prepared.key,
                           .first_layer = prepared.first_layer ? &*prepared.first_layer : nullptr,
                           .places = std::as_const(prepared.places).span()};
    ForwardState state;
    const Matrix logits = model_.forward(batch, Matrix::borrowed(prepared.input), state, context_);
    Matrix gradient(context_.memory(), logits.dtype(), logits.rows(), logits.cols());
    loss(prepared.plan, logits.view(), gradient.view(), report);
    if (!std::isfinite(report.loss_sum)) {
      report.bad_layer = first_bad_layer(state, prepared.sample, logits.view(), context_);
    }
    model_.backward(batch, std::move(gradient), state, context_);
    reduce_gradients(report);
    optimizer_.step(learning_rate);
  }
  report.compute_s -= context_.shuffle.seconds + report.comm_s;
  report.comm_s += context_.shuffle.seconds;
  report.learning_rate = learning_rate;
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
