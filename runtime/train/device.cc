#include "runtime/train/device.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "comm/host_route.h"
#include "kernels/device_module.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

constexpr const char* kAuto = "auto";
constexpr const char* kCpu = "cpu";
constexpr const char* kCuda = "cuda";
constexpr const char* kOwn = "own";
constexpr const char* kF32 = "fp32";

/// For tests of several ranks where there is one GPU: right or wrong, never fast. NCCL has to be
/// told as well (tests/gpu/verify.py).
bool may_share_gpus() {
  const char* const share = std::getenv("GSPLIT_SHARE_GPUS");
  return share != nullptr && std::string_view(share) == "1";
}

std::string number_of(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// Everybody's text, by rank.
std::vector<std::string> gather_texts(const std::string& mine, Communicator& communicator) {
  std::vector<std::string> texts;
  for (const std::vector<std::byte>& text :
       communicator.all_gather_v(std::as_bytes(std::span(mine)))) {
    texts.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
  }
  return texts;
}

/// A flag whose `value` only GPUs have, unless it is the `common` one. `why`: the reason for the
/// CPU.
void refuse_of_gpus(const std::string& flag, const std::string& value, const std::string& common,
                    const std::string& why) {
  if (value == common) return;
  throw UsageError(flag + " " + value + " is of GPUs, and this run is on the CPU (" + why + ")",
                   "give " + flag + " " + common);
}

void refuse_flags_of_gpus(const TrainConfig& config, const std::string& why) {
  refuse_of_gpus("--spmm", config.spmm, kOwn, why);
  refuse_of_gpus("--matmul", config.matmul, kF32, why);
}

}  // namespace

int num_gpus() {
  const OpenedModule opened = open_device_module();
  return opened.module == nullptr ? 0 : static_cast<int>(opened.module->report().devices.size());
}

std::string why_not_cuda(const TrainConfig& config, int local_workers) {
  if (config.device == kCpu) return "";
  if (config.precision == DType::kF64) return "--precision fp64 is of the CPU";
  if (config.precision == DType::kBF16 && config.spmm != kOwn) {
    return "--precision bf16 is aggregated by --spmm own only";
  }
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
  if (config.device == kCpu) return refuse_flags_of_gpus(config, "--device cpu");
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
  refuse_flags_of_gpus(config, *refusal);
  log.info("device: cpu (" + *refusal + ")");
  config.device = kCpu;
}

std::string gpu_of(const WorkerPlace& place) {
  const DeviceReport report = open_device_module().module->report();
  const auto number = static_cast<std::size_t>(place.local_rank) % report.devices.size();
  return host_name() + " " + report.devices[number].pci_id;
}

std::vector<std::string> gather_refusals(const TrainConfig& config, const WorkerPlace& place,
                                         Communicator& communicator) {
  const std::string mine = why_not_cuda(config, 1);
  std::vector<std::string> refusals = gather_texts(mine, communicator);
  const bool refused = std::any_of(refusals.begin(), refusals.end(),
                                   [](const std::string& text) { return !text.empty(); });
  if (config.device == kCpu || refused || may_share_gpus()) return refusals;
  std::vector<std::string> gpus = gather_texts(gpu_of(place), communicator);
  std::sort(gpus.begin(), gpus.end());
  const auto shared = std::adjacent_find(gpus.begin(), gpus.end());
  if (shared != gpus.end()) {
    refusals.front() = "there are more workers than GPUs: two would share " + *shared;
  }
  return refusals;
}

WorkerDevice::WorkerDevice(const TrainConfig& config, const WorkerPlace& place, int threads) {
  if (config.device != kCuda) {
    host_ = make_cpu_backend(threads);
    return;
  }
  gpu_ = open_device_module().module->make_backend(
      {.device = place.local_rank % num_gpus(),
       .spmm = config.spmm == kOwn ? Spmm::kOwn : Spmm::kCusparse,
       .matmul = config.matmul == kF32 ? Matmul::kF32 : Matmul::kTf32});
  host_ = make_cpu_backend(threads, gpu_->pinned());
}

std::shared_ptr<DeviceCommunicator> WorkerDevice::connect(Communicator& communicator,
                                                          Stream& stream,
                                                          std::chrono::milliseconds deadline,
                                                          JobHooks hooks) {
  if (!gpu_ || communicator.size() == 1) {
    return std::make_shared<HostRoute>(communicator, compute());
  }
  const DeviceModule& module = *open_device_module().module;
  const std::vector<std::byte> mine =
      communicator.rank() == 0 ? module.make_meeting() : std::vector<std::byte>{};
  return module.make_communicator({.rank = communicator.rank(),
                                   .size = communicator.size(),
                                   .meeting = communicator.all_gather_v(mine).front(),
                                   .deadline = deadline,
                                   .job_has_failed = std::move(hooks.job_has_failed),
                                   .coming = std::move(hooks.coming)},
                                  *gpu_, stream);
}

}  // namespace gsplit
