// Where a worker computes: what `--device` means on this machine, and the backends that follow.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "kernels/backend.h"
#include "kernels/base/log.h"
#include "runtime/train/config.h"

namespace gsplit {

/// A worker among those of its host.
struct WorkerPlace {
  int local_rank = 0;
  int local_workers = 1;
};

/// Number of GPUs that this process sees; 0 also without the CUDA module.
int num_gpus();

/// Why this host cannot compute the run on GPUs, one a worker; empty where it can.
std::string why_not_cuda(const TrainConfig& config, int local_workers);

/// Makes `auto` of config.device cuda where no worker has a reason against it, which `refusals`
/// hold by rank (empty: none), else cpu, and says so. UsageError where cuda was asked for and
/// cannot be.
void settle_device(TrainConfig& config, const std::vector<std::string>& refusals, const Log& log);

/// Exchanges the workers' refusals, so that all settle alike. Collective.
std::vector<std::string> gather_refusals(const std::string& mine, Communicator& communicator);

/// The backends of one worker. Made and used by the worker's thread.
class WorkerDevice {
 public:
  /// `config`: settled.
  WorkerDevice(const TrainConfig& config, const WorkerPlace& place);
  /// Where the model computes.
  Backend& compute() { return gpu_ ? *gpu_ : *host_; }
  /// Where shards are read and samples drawn; compute() itself without a GPU.
  Backend& host() { return *host_; }

 private:
  std::unique_ptr<Backend> gpu_;   // null on the CPU
  std::unique_ptr<Backend> host_;  // after gpu_, whose page-locked memory it uses
};

}  // namespace gsplit
