#include "runtime/train/ahead.h"

#include <algorithm>
#include <string>

#include "comm/host_route.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

constexpr const char* kCuda = "cuda";

/// Both exchange more than samples before the first layer, in an order that one thread keeps.
bool has_steps_ahead(const TrainConfig& config) {
  return config.mode != "p3" && config.mode != "hybrid";
}

int own_choice(const TrainConfig& config, const WorkerPlace& place) {
  if (config.prefetch != "auto") return std::stoi(config.prefetch);
  // What is dumped is sampled again, by the thread that computes.
  if (!has_steps_ahead(config) || !config.dump_blocks.empty()) return 0;
  if (config.device == kCuda) return 1;
  return spare_threads(config.threads, place.cores) > 0 ? 1 : 0;
}

int threads_of(const TrainConfig& config, const WorkerPlace& place) {
  if (config.device == kCuda) return threads_per_worker(config.threads, place.cores);
  return std::max(1, spare_threads(config.threads, place.cores));
}

ConnectGroup by_host(Backend& backend) {
  return [&backend](Communicator& group) { return std::make_shared<HostRoute>(group, backend); };
}

}  // namespace

int steps_ahead(const TrainConfig& config, const WorkerPlace& place, Communicator& communicator) {
  const int mine = own_choice(config, place);
  if (mine > 0 && !has_steps_ahead(config)) {
    throw UsageError("--prefetch " + config.prefetch + " is not of --mode " + config.mode,
                     "give --prefetch 0");
  }
  if (mine > 0 && !config.dump_blocks.empty()) {
    throw UsageError("--prefetch " + config.prefetch + " does not go with --dump-blocks",
                     "give --prefetch 0");
  }
  const std::vector<int> all = communicator.all_gather_value(mine);
  return *std::min_element(all.begin(), all.end());
}

Ahead::Ahead(const TrainConfig& config, const WorkerPlace& place, int owners,
             Communicator& communicator, Tracer* tracer)
    : device_(config, place, threads_of(config, place)),
      stream_(device_.compute().memory().create_stream()),
      communicator_(communicator.duplicate()),
      // Rows of other workers that it fetches (--cache partition) go from host to host.
      traffic_(std::make_unique<HostRoute>(*communicator_, device_.compute())),
      groups_(std::make_unique<WorkerGroups>(
          AllWorkers{*communicator_, *traffic_, by_host(device_.compute()), config.deadline},
          owners, progress_)) {
  progress_.fault = Fault::from_environment(communicator.rank());
  progress_.tracer = tracer;
  communicator_->trace_with(tracer);
  context_.emplace(Context{device_.compute(),
                           device_.host(),
                           *stream_,
                           *communicator_,
                           *traffic_,
                           progress_,
                           {},
                           groups_->owners(),
                           groups_->owner_traffic(),
                           groups_->replicas(),
                           config.wire == "bf16"});
}

}  // namespace gsplit
