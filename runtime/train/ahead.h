// What a worker needs beside its Context to prepare steps in a thread of their own: communicators,
// backends and a stream that only this thread uses.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "runtime/nn/context.h"
#include "runtime/train/config.h"
#include "runtime/train/device.h"
#include "runtime/train/worker_groups.h"

namespace gsplit {

/// Steps that are prepared while one is computed, as --prefetch says: `auto` is one where workers
/// compute on GPUs or the host has cores that their threads leave free, else none. The same for all
/// workers. UsageError where the mode has none. Collective.
int steps_ahead(const TrainConfig& config, const WorkerPlace& place, Communicator& communicator);

/// Of one worker. Made and destroyed by the thread that computes.
class Ahead {
 public:
  /// `owners`: workers of a group that holds the graph. `tracer`: of the worker, or null. Both it
  /// and `communicator` must outlive this. Collective.
  Ahead(const TrainConfig& config, const WorkerPlace& place, int owners, Communicator& communicator,
        Tracer* tracer);
  Context& context() { return *context_; }

 private:
  WorkerDevice device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Communicator> communicator_;
  std::unique_ptr<DeviceCommunicator> traffic_;
  Progress progress_;  // of the thread that prepares
  std::unique_ptr<WorkerGroups> groups_;
  std::optional<Context> context_;
};

}  // namespace gsplit
