#include "runtime/train/recorder.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "comm/world.h"

namespace gsplit {
namespace {

using Json = nlohmann::ordered_json;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Json step_fields(const StepPlan& plan, const StepReport& total) {
  return {{"epoch", plan.epoch},
          {"step", plan.step},
          {"loss", total.loss_sum / plan.global_batch},
          {"lr", total.learning_rate},
          {"seeds", total.seeds},
          {"edges", total.edges},
          {"input_rows", total.input_rows},
          {"rows_cache", total.rows_cache},
          {"rows_remote", total.rows_remote},
          {"rows_disk", total.rows_disk},
          {"shuffle_bytes", total.shuffle_bytes},
          {"shuffle_bytes_pull", total.shuffle_bytes_pull},
          {"plan_bytes", total.plan_bytes},
          {"allreduce_bytes", total.allreduce_bytes},
          {"sample_s", total.sample_s},
          {"load_s", total.load_s},
          {"compute_s", total.compute_s},
          {"comm_s", total.comm_s},
          {"plan_wait_s", total.plan_wait_s}};
}

Json accuracy_or_null(const std::optional<Scores>& scores, Score Scores::*split) {
  if (!scores || ((*scores).*split).nodes == 0) return nullptr;
  return ((*scores).*split).accuracy();
}

std::string percent(const Score& score) {
  return score.nodes == 0 ? "-" : fmt::format("{:.2f} %", 100 * score.accuracy());
}

}  // namespace

Recorder::Recorder(const TrainConfig& config, const RunFacts& facts, const Log& log)
    : config_(config),
      log_(log),
      directory_(config.run_dir, config.overwrite),
      progress_(facts.total_steps,
                static_cast<std::uint32_t>((facts.total_steps + facts.steps_per_epoch - 1) /
                                           facts.steps_per_epoch),
                isatty(STDOUT_FILENO) != 0 && !under_launcher(), log) {
  const std::string yaml = to_yaml(config);
  directory_.write_config(yaml);
  directory_.event("run_start", Json{{"config", yaml},
                                     {"world", facts.world},
                                     {"device", facts.device},
                                     {"dataset", facts.dataset_name},
                                     {"dataset_fingerprint", facts.dataset_fingerprint},
                                     {"coordinator", facts.coordinator},
                                     {"total_steps", facts.total_steps},
                                     {"parameters", facts.num_parameters},
                                     {"metric", "accuracy"},
                                     {"versions", {{"gsplit", GSPLIT_VERSION}}}});
}

void Recorder::step(const StepPlan& plan, std::span<const StepReport> workers) {
  const StepReport total = combine(workers);
  directory_.event("step", step_fields(plan, total));
  progress_.step(plan.step, plan.epoch, total.loss_sum / plan.global_batch, total.seeds);
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
  const double loss = counts.loss_sum / seeds;
  const double train_accuracy = static_cast<double>(counts.correct) / seeds;
  const double seconds = seconds_since(totals_.start);
  directory_.event("epoch", Json{{"epoch", epoch},
                                 {"loss", loss},
                                 {"train_acc", train_accuracy},
                                 {"valid_acc", accuracy_or_null(scores, &Scores::validation)},
                                 {"seconds", seconds},
                                 {"edges", counts.edges},
                                 {"input_rows", counts.input_rows},
                                 {"shuffle_bytes", counts.shuffle_bytes},
                                 {"load_imbalance", load_imbalance()},
                                 {"peak_rss_bytes", peak_rss_bytes}});
  progress_.lasting(fmt::format(
      "epoch {}  loss {:.4f}  train {:.2f} %  valid {}  {:.1f} s  {:.0f} seeds/s", epoch, loss,
      100 * train_accuracy, scores ? percent(scores->validation) : "-", seconds, seeds / seconds));
  epochs_done_ = epoch;
  if (scores) keep_best(epoch, *scores, parameters);
  totals_ = {};
}

void Recorder::keep_best(std::uint32_t epoch, const Scores& scores, ParameterSet& parameters) {
  // Without validation nodes the latest weights are the best known.
  if (best_ && scores.validation.nodes > 0 &&
      scores.validation.accuracy() <= best_->validation.accuracy()) {
    return;
  }
  best_ = scores;
  directory_.write_weights("best", parameters,
                           Json{{"config", to_yaml(config_)},
                                {"epoch", epoch},
                                {"step", steps_done_},
                                {"valid_acc", accuracy_or_null(best_, &Scores::validation)}});
}

void Recorder::finish(const std::string& status, const std::optional<Scores>& scores,
                      ParameterSet& parameters) {
  if (scores) keep_best(epochs_done_, *scores, parameters);
  directory_.write_weights(
      "final", parameters,
      Json{{"config", to_yaml(config_)}, {"epoch", epochs_done_}, {"step", steps_done_}});
  directory_.event("checkpoint", Json{{"step", steps_done_}, {"path", "checkpoints/final"}});
  const double seconds = seconds_since(start_);
  directory_.event("run_end", Json{{"status", status},
                                   {"best_valid_acc", accuracy_or_null(best_, &Scores::validation)},
                                   {"test_acc", accuracy_or_null(best_, &Scores::test)},
                                   {"epochs", epochs_done_},
                                   {"steps", steps_done_},
                                   {"plan_wait_share", step_s_ > 0 ? plan_wait_s_ / step_s_ : 0},
                                   {"seconds", seconds}});
  progress_.lasting(fmt::format("{} after {} steps, {:.1f} s: best valid {}, test {}; run in {}",
                                status, steps_done_, seconds,
                                best_ ? percent(best_->validation) : "-",
                                best_ ? percent(best_->test) : "-", directory_.path().string()));
}

}  // namespace gsplit
