#include "runtime/train/run.h"

#include <atomic>
#include <functional>

#include "comm/world.h"
#include "runtime/train/resources.h"
#include "runtime/train/seeds.h"
#include "runtime/train/worker.h"

namespace gsplit {
namespace {

/// One run of one configuration.
using RunOnce = std::function<ExitCode(const TrainConfig& config)>;

/// `leads`: whether this process records.
ExitCode run_all(const TrainConfig& config, bool leads, const Log& log, const RunOnce& run) {
  if (config.seeds == 1) return run(config);
  const std::vector<TrainConfig> configs = one_per_seed(config);
  if (leads) check_seed_directories(configs);
  for (const TrainConfig& one : configs) {
    log.info("seed " + std::to_string(one.seed));
    const ExitCode code = run(one);
    if (code != ExitCode::kDone) return code;
  }
  if (leads && !config.dry_run) log.info(summary_of_seeds(configs));
  return ExitCode::kDone;
}

ExitCode run_under_launcher(const TrainConfig& config, const Log& log) {
  MpiWorld world(config.deadline);
  return run_all(config, world.communicator().rank() == 0, log, [&](const TrainConfig& one) {
    Worker worker(one, world.communicator(), world.local_size(), log);
    try {
      return worker.run();
    } catch (const Error& error) {
      if (worker.speaks()) throw;
      throw Error(error.code(), "");
    }
  });
}

ExitCode run_rank_threads(const TrainConfig& config, const Log& log) {
  return run_all(config, true, log, [&](const TrainConfig& one) {
    const int workers = one.workers > 0 ? one.workers : num_numa_nodes();
    std::atomic<ExitCode> code{ExitCode::kDone};
    run_local_ranks(workers, one.deadline, [&](Communicator& communicator) {
      code = Worker(one, communicator, workers, log).run();
    });
    return code.load();
  });
}

}  // namespace

ExitCode run_training(const TrainConfig& config, const Log& log) {
  return under_launcher() ? run_under_launcher(config, log) : run_rank_threads(config, log);
}

}  // namespace gsplit
