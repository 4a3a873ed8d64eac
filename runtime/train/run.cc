#include "runtime/train/run.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>

#include "comm/world.h"
#include "runtime/train/device.h"
#include "runtime/train/resources.h"
#include "runtime/train/run_data.h"
#include "runtime/train/seeds.h"
#include "runtime/train/supervisor.h"
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

/// MPI's own start and end wait for the other ranks and the launcher without a deadline.
class LimitedMpiWorld {
 public:
  LimitedMpiWorld(std::chrono::milliseconds deadline, Supervisor& supervisor)
      : supervisor_(supervisor) {
    const Supervisor::Limit limit(
        supervisor,
        "failed in starting at step 0: the ranks did not meet within the deadline; see that all "
        "of them run, and start the job again",
        ExitCode::kSystem);
    world_.emplace(deadline);
  }
  ~LimitedMpiWorld() {
    const Supervisor::Limit limit(supervisor_, "", code);
    world_.reset();
  }
  LimitedMpiWorld(const LimitedMpiWorld&) = delete;
  LimitedMpiWorld& operator=(const LimitedMpiWorld&) = delete;
  MpiWorld& operator*() { return *world_; }

  ExitCode code = ExitCode::kSystem;  ///< of the run, which ends with it though MPI may not

 private:
  Supervisor& supervisor_;
  std::optional<MpiWorld> world_;
};

/// All ranks settle alike. Of a refusal, which all find, rank 0 tells the user; the others wait for
/// it to leave.
void settle_with_all(TrainConfig& config, MpiWorld& world, const Log& log) {
  Communicator& communicator = world.communicator();
  const WorkerPlace place{.local_rank = world.local_rank(), .local_workers = world.local_size()};
  try {
    share_resumed_flags(config, communicator);
    settle_device(config, gather_refusals(config, place, communicator), log);
  } catch (const CommunicationError& error) {
    if (error.told_by_peer()) throw UsageError("");
    throw;
  } catch (const UsageError&) {
    if (communicator.rank() == 0) throw;
    try {
      communicator.barrier();
    } catch (const CommunicationError&) {
    }
    throw UsageError("");
  }
}

ExitCode run_under_launcher(const TrainConfig& given, const Log& log) {
  Supervisor supervisor({.rank = launcher_rank(), .host = host_name(), .deadline = given.deadline},
                        log);
  LimitedMpiWorld world(given.deadline, supervisor);
  Communicator& communicator = (*world).communicator();
  TrainConfig config = given;
  settle_with_all(config, *world, log);
  const WorkerPlace place =
      place_of_process((*world).local_rank(), (*world).local_size(), binding_from_name(config.bind),
                       config.threads, communicator);
  world.code = run_all(config, communicator.rank() == 0, log, [&](const TrainConfig& one) {
    return Worker(one, communicator, place, supervisor, log).run();
  });
  return world.code;
}

/// One worker per GPU, or per NUMA node, where the number is not given.
int num_rank_threads(const TrainConfig& config) {
  if (config.workers > 0) return config.workers;
  return config.device == "cuda" ? num_gpus() : HostTopology::of_this_host().num_numa_nodes();
}

ExitCode run_rank_threads(const TrainConfig& given, const Log& log) {
  TrainConfig config = given;
  settle_device(config, {why_not_cuda(config, std::max(config.workers, 1))}, log);
  Supervisor supervisor({.rank = {}, .host = host_name(), .deadline = config.deadline}, log);
  return run_all(config, true, log, [&](const TrainConfig& one) {
    const int workers = num_rank_threads(one);
    std::atomic<ExitCode> code{ExitCode::kDone};
    const auto work = [&](Communicator& communicator) {
      const WorkerPlace place =
          place_of_thread(communicator.rank(), workers, binding_from_name(one.bind), one.threads);
      code = Worker(one, communicator, place, supervisor, log).run();
    };
    try {
      run_local_ranks(workers, one.deadline, work);
    } catch (const Error& error) {
      // A rank that has not met the coordinator yet knows only that another one has failed, and may
      // be the first to end.
      const auto told = supervisor.code_of_failure();
      if (told && *error.what() == '\0') throw Error(*told, "");
      throw;
    }
    return code.load();
  });
}

}  // namespace

ExitCode run_training(const TrainConfig& config, const Log& log) {
  return under_launcher() ? run_under_launcher(config, log) : run_rank_threads(config, log);
}

}  // namespace gsplit
