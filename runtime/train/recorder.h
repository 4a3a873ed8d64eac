// Turns the workers' reports into events.jsonl, the progress line and the kept weights. Lives on
// rank 0 alone and takes part in no collective.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/base/log.h"
#include "runtime/control/planner.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/config.h"
#include "runtime/train/evaluator.h"
#include "runtime/train/progress_line.h"
#include "runtime/train/run_directory.h"
#include "runtime/train/step_event.h"
#include "runtime/train/step_report.h"

namespace gsplit {

struct RunFacts {
  int world = 1;
  std::string device;
  std::string dataset_name;
  std::string dataset_fingerprint;
  Task task = Task::kMultiClass;
  std::string coordinator;
  std::string metrics;  ///< where Prometheus finds it; empty: nowhere
  std::uint64_t total_steps = 0;
  std::uint64_t steps_per_epoch = 0;
  std::int64_t num_parameters = 0;
};

/// How a run has ended.
struct RunEnd {
  std::string status;  ///< done, early_stop or stopped
  std::string reason;  ///< who stopped it; else empty
};

class Recorder {
 public:
  /// Begins the run in `directory`, or continues it where `resumed` is not null. References must
  /// outlive the recorder; `resumed` need not.
  Recorder(const TrainConfig& config, const RunFacts& facts, RunDirectory& directory,
           const Checkpoint* resumed, const Log& log);

  void step(const StepPlan& plan, std::span<const StepReport> workers);
  /// End of an epoch; `scores` where it was evaluated. `peak_rss_bytes`: of the largest worker.
  void epoch(std::uint32_t epoch, const std::optional<Scores>& scores, std::uint64_t peak_rss_bytes,
             ParameterSet& parameters);
  /// End of the run; `scores` where it was never evaluated before.
  void finish(const RunEnd& end, const std::optional<Scores>& scores, ParameterSet& parameters);

  /// Records that a checkpoint was committed under `path`, relative to the run directory.
  void checkpoint(std::uint64_t step, const std::string& path);
  /// What a checkpoint keeps of this object beside its best weights.
  nlohmann::ordered_json state() const;
  /// Adds best.safetensors to a checkpoint where there are best weights.
  void add_best_weights(CheckpointWriter& writer) const;

  RunDirectory& directory() { return directory_; }
  std::uint32_t epochs_done() const { return epochs_done_; }
  const std::string& dataset_fingerprint() const { return facts_.dataset_fingerprint; }

 private:
  /// Sums over the current epoch.
  struct EpochTotals {
    StepReport counts;
    std::vector<std::uint64_t> edges_by_worker;
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  };

  /// The best scores so far and where they were reached.
  struct Best {
    Scores scores;
    std::uint32_t epoch = 0;
    std::uint64_t step = 0;
  };

  nlohmann::ordered_json run_facts() const;
  void restore(const Checkpoint& checkpoint);
  CheckpointManifest best_manifest() const;

  double load_imbalance() const;
  void keep_best(std::uint32_t epoch, const Scores& scores, ParameterSet& parameters);

  const TrainConfig& config_;
  const RunFacts facts_;
  const char* metric_;  // what the accuracies are
  RunDirectory& directory_;
  WorkerSums worker_sums_;
  ProgressLine progress_;
  EpochTotals totals_;
  std::optional<Best> best_;
  std::uint32_t epochs_done_ = 0;
  std::uint64_t steps_done_ = 0;
  double plan_wait_s_ = 0;
  double step_s_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace gsplit
