#include "runtime/train/run.h"

#include <atomic>

#include "comm/world.h"
#include "runtime/train/resources.h"
#include "runtime/train/worker.h"

namespace gsplit {
namespace {

ExitCode run_under_launcher(const TrainConfig& config, const Log& log) {
  MpiWorld world(config.deadline);
  Worker worker(config, world.communicator(), world.local_size(), log);
  try {
    return worker.run();
  } catch (const Error& error) {
    if (worker.speaks()) throw;
    throw Error(error.code(), "");
  }
}

ExitCode run_rank_threads(const TrainConfig& config, const Log& log) {
  const int workers = config.workers > 0 ? config.workers : num_numa_nodes();
  std::atomic<ExitCode> code{ExitCode::kDone};
  run_local_ranks(workers, config.deadline, [&](Communicator& communicator) {
    code = Worker(config, communicator, workers, log).run();
  });
  return code;
}

}  // namespace

ExitCode run_training(const TrainConfig& config, const Log& log) {
  return under_launcher() ? run_under_launcher(config, log) : run_rank_threads(config, log);
}

}  // namespace gsplit
