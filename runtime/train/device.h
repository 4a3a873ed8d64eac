// Where a worker computes: what `--device` means on this machine, and the backends that follow.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/device_communicator.h"
#include "kernels/backend.h"
#include "kernels/base/log.h"
#include "runtime/train/config.h"
#include "runtime/train/placement.h"

namespace gsplit {

/// Number of GPUs that this process sees; 0 also without the CUDA module.
int num_gpus();
/// Which of them a worker takes, by host and bus: for all workers to see that no two take the same.
/// A launcher may show each rank all GPUs of the host, or its own alone. REQUIRES: there are some.
std::string gpu_of(const WorkerPlace& place);

/// Why this host cannot compute the run on GPUs, one a worker; empty where it can, and where it
/// shall not (--device cpu).
std::string why_not_cuda(const TrainConfig& config, int local_workers);

/// Makes `auto` of config.device cuda where no worker has a reason against it, which `refusals`
/// hold by rank (empty: none), else cpu, and says so. UsageError where cuda, or what only GPUs
/// have, was asked for and cannot be.
void settle_device(TrainConfig& config, const std::vector<std::string>& refusals, const Log& log);

/// The refusals of all workers, so that all settle alike; also where two would share a GPU.
/// Collective.
std::vector<std::string> gather_refusals(const TrainConfig& config, const WorkerPlace& place,
                                         Communicator& communicator);

/// How exchanges between GPUs and the job know of each other, as in PeerOptions.
struct JobHooks {
  std::function<bool()> job_has_failed;
  std::function<void()> coming;
};

/// The backends of one worker. Made and used by the worker's thread.
class WorkerDevice {
 public:
  /// `config`: settled. `threads`: of the host.
  WorkerDevice(const TrainConfig& config, const WorkerPlace& place, int threads);
  /// Where the model computes.
  Backend& compute() { return gpu_ ? *gpu_ : *host_; }
  /// Where shards are read and samples drawn; compute() itself without a GPU.
  Backend& host() { return *host_; }
  /// How rows and gradients travel between the workers' backends: NCCL between GPUs, else
  /// `communicator`. Collective; the arguments must outlive the result.
  std::shared_ptr<DeviceCommunicator> connect(Communicator& communicator, Stream& stream,
                                              std::chrono::milliseconds deadline, JobHooks hooks);

 private:
  std::unique_ptr<Backend> gpu_;   // null on the CPU
  std::unique_ptr<Backend> host_;  // after gpu_, whose page-locked memory it uses
};

}  // namespace gsplit
