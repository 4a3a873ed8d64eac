#include "runtime/train/recorder.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "comm/world.h"
#include "runtime/train/weights.h"

namespace gsplit {
namespace {

using Json = nlohmann::ordered_json;

std::chrono::steady_clock::duration seconds_to_ticks(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Json accuracy_or_null(const Score& score) {
  return score.nodes == 0 ? Json() : Json(score.accuracy());
}

Json to_json(const PredictionCounts& counts) {
  return {{"true_positives", counts.true_positives},
          {"false_positives", counts.false_positives},
          {"false_negatives", counts.false_negatives}};
}

PredictionCounts predictions_from(const Json& json) {
  return {.true_positives = json.at("true_positives"),
          .false_positives = json.at("false_positives"),
          .false_negatives = json.at("false_negatives")};
}

Json to_json(const Score& score) {
  return {{"nodes", score.nodes},
          {"predictions", to_json(score.predictions)},
          {"loss_sum", score.loss_sum}};
}

Score score_from(const Json& json) {
  return {.nodes = json.at("nodes"),
          .predictions = predictions_from(json.at("predictions")),
          .loss_sum = json.at("loss_sum")};
}

/// What the event of an epoch sums up.
Json to_json(const StepReport& counts) {
  return {{"loss_sum", counts.loss_sum},
          {"loss_weight", counts.loss_weight},
          {"predictions", to_json(counts.predictions)},
          {"seeds", counts.seeds},
          {"edges", counts.edges},
          {"input_rows", counts.input_rows},
          {"shuffle_bytes", counts.shuffle().bytes}};
}

StepReport counts_from(const Json& json) {
  StepReport counts{.loss_sum = json.at("loss_sum"),
                    .loss_weight = json.at("loss_weight"),
                    .predictions = predictions_from(json.at("predictions")),
                    .seeds = json.at("seeds"),
                    .edges = json.at("edges"),
                    .input_rows = json.at("input_rows")};
  counts.traffic.front().bytes = json.at("shuffle_bytes");  // of all layers
  return counts;
}

constexpr const char* kBestWeights = "best.safetensors";

std::string percent(const Score& score) {
  return score.nodes == 0 ? "-" : fmt::format("{:.2f} %", 100 * score.accuracy());
}

}  // namespace

Recorder::Recorder(const TrainConfig& config, const RunFacts& facts, RunDirectory& directory,
                   const Checkpoint* resumed, const Log& log)
    : config_(config),
      facts_(facts),
      metric_(metric_of(facts.task)),
      directory_(directory),
      worker_sums_(static_cast<std::size_t>(facts.world)),
      progress_({.total_steps = facts.total_steps,
                 .first_step = resumed != nullptr ? resumed->manifest().step + 1 : 1,
                 .epochs = static_cast<std::uint32_t>(
                     (facts.total_steps + facts.steps_per_epoch - 1) / facts.steps_per_epoch)},
                isatty(STDOUT_FILENO) != 0 && !under_launcher(), log) {
  if (resumed != nullptr) {
    directory_.continue_after(resumed->manifest().step);
    try {
      restore(*resumed);
    } catch (const Json::exception& error) {
      throw UsageError(resumed->directory().string() + " cannot be resumed from: " + error.what(),
                       "remove it, and the one before it is used");
    }
  } else if (config.resume) {
    directory_.start_again();
  } else {
    directory_.start_anew();
  }
  directory_.write_config(to_yaml(config));
  Json fields = run_facts();
  if (resumed != nullptr) {
    fields["step"] = steps_done_;
    fields["checkpoint"] = "checkpoints/" + resumed->directory().filename().string();
  }
  directory_.event(resumed != nullptr ? "resume" : "run_start", fields);
}

Json Recorder::run_facts() const {
  return {{"config", to_yaml(config_)},
          {"world", facts_.world},
          {"device", facts_.device},
          {"dataset", facts_.dataset_name},
          {"dataset_fingerprint", facts_.dataset_fingerprint},
          {"coordinator", facts_.coordinator},
          {"metrics", facts_.metrics.empty() ? Json() : Json(facts_.metrics)},
          {"total_steps", facts_.total_steps},
          {"parameters", facts_.num_parameters},
          {"metric", metric_},
          {"versions", {{"gsplit", GSPLIT_VERSION}}}};
}

void Recorder::step(const StepPlan& plan, std::span<const StepReport> workers) {
  const StepReport total = combine(workers);
  Json fields = step_fields(plan, total, config_.fanout.size(), config_.route);
  worker_sums_.add(workers);
  if (auto sums = worker_sums_.take(plan.step, plan.last_of_epoch)) {
    fields["workers"] = std::move(*sums);
  }
  directory_.event("step", fields);
  progress_.step(plan.step, plan.epoch, total.mean_loss(), total.seeds);
  totals_.counts = combine(std::vector{totals_.counts, total});
  totals_.edges_by_worker.resize(workers.size());
  for (std::size_t p = 0; p < workers.size(); ++p) {
    totals_.edges_by_worker[p] += workers[p].edges;
  }
  steps_done_ = plan.step;
  plan_wait_s_ += total.plan_wait_s;
  step_s_ += total.sample_s + total.load_s + total.compute_s + total.comm_s + total.plan_wait_s;
}

double Recorder::load_imbalance() const {
  const auto& edges = totals_.edges_by_worker;
  const auto sum = std::accumulate(edges.begin(), edges.end(), std::uint64_t{0});
  if (sum == 0) return 1;
  return static_cast<double>(*std::max_element(edges.begin(), edges.end())) *
         static_cast<double>(edges.size()) / static_cast<double>(sum);
}

void Recorder::epoch(std::uint32_t epoch, const std::optional<Scores>& scores,
                     std::uint64_t peak_rss_bytes, ParameterSet& parameters) {
  const StepReport& counts = totals_.counts;
  const double seeds = static_cast<double>(counts.seeds);
  const double loss = counts.mean_loss();
  const double train_accuracy = counts.predictions.f1();
  const double seconds = seconds_since(totals_.start);
  directory_.event("epoch",
                   Json{{"epoch", epoch},
                        {"loss", loss},
                        {"train_acc", train_accuracy},
                        {"valid_acc", scores ? accuracy_or_null(scores->validation) : Json()},
                        {"seconds", seconds},
                        {"edges", counts.edges},
                        {"input_rows", counts.input_rows},
                        {"shuffle_bytes", counts.shuffle().bytes},
                        {"load_imbalance", load_imbalance()},
                        {"peak_rss_bytes", peak_rss_bytes}});
  progress_.lasting(
      fmt::format("epoch {}  loss {:.4f}  train {} {:.2f} %  valid {}  {:.1f} s  {:.0f} seeds/s",
                  epoch, loss, metric_, 100 * train_accuracy,
                  scores ? percent(scores->validation) : "-", seconds, seeds / seconds));
  epochs_done_ = epoch;
  if (scores) keep_best(epoch, *scores, parameters);
  totals_ = {};
}

void Recorder::keep_best(std::uint32_t epoch, const Scores& scores, ParameterSet& parameters) {
  // Without validation nodes the latest weights are the best known.
  if (best_ && scores.validation.nodes > 0 &&
      scores.validation.accuracy() <= best_->scores.validation.accuracy()) {
    return;
  }
  best_ = {scores, epoch, steps_done_};
  CheckpointWriter writer(directory_.checkpoints() / "best");
  writer.add("model.safetensors", tensors_of(parameters, parameters.values()).list);
  writer.commit(best_manifest());
}

CheckpointManifest Recorder::best_manifest() const {
  return {.step = best_->step,
          .epoch = best_->epoch,
          .config = to_yaml(config_),
          .dataset_fingerprint = facts_.dataset_fingerprint,
          .state = {{"valid_acc", accuracy_or_null(best_->scores.validation)}}};
}

void Recorder::add_best_weights(CheckpointWriter& writer) const {
  if (best_) {
    writer.add_copy(kBestWeights, directory_.checkpoints() / "best" / "model.safetensors");
  }
}

void Recorder::checkpoint(std::uint64_t step, const std::string& path) {
  directory_.event("checkpoint", Json{{"step", step}, {"path", path}});
}

Json Recorder::state() const {
  Json state{{"epochs_done", epochs_done_},
             {"seconds", seconds_since(start_)},
             {"plan_wait_s", plan_wait_s_},
             {"step_s", step_s_},
             {"epoch_counts", to_json(totals_.counts)},
             {"epoch_edges_by_worker", totals_.edges_by_worker},
             {"epoch_seconds", seconds_since(totals_.start)},
             {"best", nullptr}};
  if (best_) {
    state["best"] = {{"epoch", best_->epoch},
                     {"step", best_->step},
                     {"validation", to_json(best_->scores.validation)},
                     {"test", to_json(best_->scores.test)}};
  }
  return state;
}

void Recorder::restore(const Checkpoint& checkpoint) {
  const Json& state = checkpoint.manifest().state.at("recorder");
  steps_done_ = checkpoint.manifest().step;
  epochs_done_ = state.at("epochs_done");
  start_ -= seconds_to_ticks(state.at("seconds"));
  plan_wait_s_ = state.at("plan_wait_s");
  step_s_ = state.at("step_s");
  totals_.counts = counts_from(state.at("epoch_counts"));
  totals_.start -= seconds_to_ticks(state.at("epoch_seconds"));
  std::vector<std::uint64_t> edges = state.at("epoch_edges_by_worker");
  // Of another number of workers nobody knows who would have had which edges.
  if (edges.size() == static_cast<std::size_t>(facts_.world)) totals_.edges_by_worker = edges;
  if (!checkpoint.has(kBestWeights)) return;
  const Json& best = state.at("best");
  best_ = {{score_from(best.at("validation")), score_from(best.at("test"))},
           best.at("epoch"),
           best.at("step")};
  CheckpointWriter writer(directory_.checkpoints() / "best");
  writer.add_copy("model.safetensors", checkpoint.directory() / kBestWeights);
  writer.commit(best_manifest());
}

void Recorder::finish(const RunEnd& end, const std::optional<Scores>& scores,
                      ParameterSet& parameters) {
  if (scores) keep_best(epochs_done_, *scores, parameters);
  CheckpointWriter writer(directory_.checkpoints() / "final");
  writer.add("model.safetensors", tensors_of(parameters, parameters.values()).list);
  writer.commit({.step = steps_done_,
                 .epoch = epochs_done_,
                 .config = to_yaml(config_),
                 .dataset_fingerprint = facts_.dataset_fingerprint,
                 .state = Json::object()});
  checkpoint(steps_done_, "checkpoints/final");
  const double seconds = seconds_since(start_);
  const Scores best = best_ ? best_->scores : Scores{};
  directory_.event("run_end", Json{{"status", end.status},
                                   {"reason", end.reason.empty() ? Json() : Json(end.reason)},
                                   {"best_valid_acc", accuracy_or_null(best.validation)},
                                   {"test_acc", accuracy_or_null(best.test)},
                                   {"epochs", epochs_done_},
                                   {"steps", steps_done_},
                                   {"plan_wait_share", step_s_ > 0 ? plan_wait_s_ / step_s_ : 0},
                                   {"seconds", seconds}});
  progress_.lasting(fmt::format(
      "{} after {} steps, {:.1f} s: best valid {} {}, test {}; run in {}",
      end.reason.empty() ? end.status : fmt::format("{} ({})", end.status, end.reason), steps_done_,
      seconds, metric_, percent(best.validation), percent(best.test), directory_.path().string()));
}

}  // namespace gsplit
