// What a run directory says of a run, in bounded space: events.jsonl, what resumes have set aside,
// and whether the run goes on. Nothing in the files is trusted: a field that is missing or of
// another type is passed over, a line that is no JSON object is counted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/report/series.h"

namespace gsplit {

struct EpochDigest {
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;  ///< the last one done
  double elapsed_s = 0;
  std::optional<double> loss, train_accuracy, valid_accuracy, seconds, load_imbalance;
  std::optional<double> peak_rss_bytes;
};

/// Sums over the steps that the events give by worker.
struct WorkerDigest {
  double seeds = 0, edges = 0, input_rows = 0, shuffle_bytes = 0;
  double sample_s = 0, load_s = 0, compute_s = 0, comm_s = 0;
  double peak_rss_bytes = 0;  ///< the largest
  double device_bytes = 0;    ///< of a GPU: the largest
};

/// What a layer's shuffle sent on one route.
struct RouteDigest {
  std::uint64_t steps = 0;
  double bytes = 0;
  double bytes_pull = 0;
};

/// An events.N.jsonl: steps that were done again after a resume.
struct SetAside {
  std::string file;
  std::uint64_t steps = 0, first_step = 0, last_step = 0;
};

struct RunDigest {
  std::string name;   ///< for people: the directory's last parts
  std::string path;   ///< as given
  std::string state;  ///< run_end's status; running, or failed: no run_end, and nobody writes
  std::string reason;
  std::string dataset, device, metric = "accuracy", version, coordinator;
  std::uint64_t world = 0, total_steps = 0, parameters = 0;
  std::optional<double> start_time, end_time;  ///< seconds since 1970, of the first and last event
  std::optional<double> best_valid, test;
  double elapsed_s = 0;
  std::vector<std::pair<std::string, std::string>> config;  ///< in the order of config.yaml
  StepSeries steps;
  std::vector<EpochDigest> epochs;
  std::uint64_t worker_steps = 0;  ///< that `workers` sums up
  std::vector<WorkerDigest> workers;
  std::vector<std::map<std::string, RouteDigest>> layers;  ///< the input layer first; by route
  std::uint64_t checkpoints = 0, last_checkpoint_step = 0;
  std::vector<std::uint64_t> resumed_after;  ///< steps
  std::vector<SetAside> set_aside;
  std::uint64_t unreadable_lines = 0;  ///< the last one apart, which a run may be about to write

  /// Of config.yaml; empty where it is not there.
  std::string setting(const std::string& name) const;
};

/// REQUIRES: `directory` holds events.jsonl. Throws UsageError where it cannot be read.
RunDigest digest_run(const std::filesystem::path& directory);

/// The run directories that `given` names: itself, or one for each seed of --seeds. Throws
/// UsageError where there is no run.
std::vector<std::filesystem::path> runs_in(const std::filesystem::path& given);

/// Gives runs of the same name their paths for names, and what is still alike a number.
void tell_apart(std::vector<RunDigest>& runs);

}  // namespace gsplit
