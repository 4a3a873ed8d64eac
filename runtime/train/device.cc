#include "runtime/train/device.h"

#include <algorithm>

#include "kernels/device_module.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

constexpr const char* kAuto = "auto";
constexpr const char* kCpu = "cpu";
constexpr const char* kCuda = "cuda";

std::string number_of(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

int num_gpus() {
  const OpenedModule opened = open_device_module();
  return opened.module == nullptr ? 0 : static_cast<int>(opened.module->report().devices.size());
}

std::string why_not_cuda(const TrainConfig& config, int local_workers) {
  if (config.model == "gat") return "--model gat computes on the CPU only";
  if (config.precision == DType::kF64) return "--precision fp64 is of the CPU";
  const OpenedModule opened = open_device_module();
  if (opened.module == nullptr) return "there is no CUDA module: " + opened.problem;
  const DeviceReport report = opened.module->report();
  if (!report.problem.empty()) return report.problem;
  if (report.devices.size() < static_cast<std::size_t>(local_workers)) {
    return host_name() + " has " + number_of(report.devices.size(), "GPU") + " for " +
           number_of(static_cast<std::size_t>(local_workers), "worker");
  }
  return "";
}

void settle_device(TrainConfig& config, const std::vector<std::string>& refusals, const Log& log) {
  if (config.device == kCpu) return;
  const auto refusal = std::find_if(refusals.begin(), refusals.end(),
                                    [](const std::string& text) { return !text.empty(); });
  if (refusal == refusals.end()) {
    if (config.device == kAuto) log.info("device: cuda, one GPU a worker");
    config.device = kCuda;
    return;
  }
  if (config.device == kCuda) {
    throw UsageError("--device cuda: " + *refusal, "see gsplit doctor, or give --device cpu");
  }
  log.info("device: cpu (" + *refusal + ")");
  config.device = kCpu;
}

std::vector<std::string> gather_refusals(const std::string& mine, Communicator& communicator) {
  std::vector<std::string> refusals;
  for (const std::vector<std::byte>& text :
       communicator.all_gather_v(std::as_bytes(std::span(mine)))) {
    refusals.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
  }
  return refusals;
}

WorkerDevice::WorkerDevice(const TrainConfig& config, const WorkerPlace& place) {
  const int threads = threads_per_worker(config.threads, place.local_workers);
  if (config.device != kCuda) {
    host_ = make_cpu_backend(threads);
    return;
  }
  gpu_ = open_device_module().module->make_backend(place.local_rank);
  host_ = make_cpu_backend(threads, gpu_->pinned());
}

}  // namespace gsplit
