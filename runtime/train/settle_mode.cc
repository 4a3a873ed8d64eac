#include "runtime/train/settle_mode.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <thread>

#include "graph/shard.h"
#include "graph/small_file.h"
#include "runtime/bench/mode_estimate.h"
#include "runtime/train/resources.h"
#include "runtime/train/run_data.h"

namespace gsplit {
namespace {

constexpr const char* kAuto = "auto";

struct SharedMode {
  std::array<char, 16> mode{};
  int group_size = 0;
};

void take(TrainConfig& config, const std::string& mode, int group_size) {
  config.mode = mode;
  config.group_size = group_size;
}

std::string named(const TrainConfig& config) {
  const bool groups = config.group_size > 0;
  return config.mode + (groups ? fmt::format(" in groups of {}", config.group_size) : "");
}

/// A partition has one part a member of a group.
bool settle_by_partition(TrainConfig& config, int workers, const Log& log) {
  if (!names_directory(config.partition)) return false;
  const std::filesystem::path directory = on_this_host(config.partition);
  const int parts = Partition::open(directory).info().num_parts;
  if (parts != workers && parts != 1) {
    take(config, "hybrid", parts);
  } else {
    take(config, parts == workers ? "split" : "data", 0);
  }
  log.info(fmt::format("mode auto: {}, for which --partition {} with {} parts is", named(config),
                       config.partition, parts));
  return true;
}

ModeOptions mode_options(const TrainConfig& config, int workers, const WorkerPlace& place) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int threads = threads_per_worker(config.threads, place.cores);
  const bool rounds = config.wire == "bf16" || config.precision == DType::kBF16;
  return {.step = {.model = config.model,
                   .fanout = config.fanout,
                   .batch_size = static_cast<int>(config.batch_size),
                   .hidden = config.hidden,
                   .heads = config.heads,
                   .seed = config.seed,
                   .threads = std::min(cores, threads * place.local_workers)},
          .sampler = sampler_from_name(config.sampler),
          .workers = workers,
          .cores = cores,
          .row_element_bytes = rounds ? 2.0 : static_cast<double>(size_of(config.precision)),
          .method = partition_method_from_name(config.partition)};
}

}  // namespace

void adopt_recorded_mode(TrainConfig& config) {
  const std::filesystem::path file = config.run_dir / "config.yaml";
  if (config.mode != kAuto || !config.resume || !std::filesystem::exists(file)) return;
  const TrainConfig recorded = from_yaml(read_small_file(file, kMostYamlBytes), file.string());
  take(config, recorded.mode, recorded.group_size);
}

void settle_mode(TrainConfig& config, const Dataset* dataset, int workers, const WorkerPlace& place,
                 const Log& log) {
  if (config.mode != kAuto) return;
  if (workers == 1) return take(config, "split", 0);
  if (settle_by_partition(config, workers, log)) return;
  if (workers > kMostEstimatedWorkers) {
    throw UsageError(
        fmt::format("--mode auto with {} workers", workers),
        fmt::format("it knows up to {}: choose split, data or hybrid", kMostEstimatedWorkers));
  }
  GSPLIT_CHECK(dataset != nullptr);  // else there is a partition
  if (config.device == "cuda") log.info("mode auto: by the rates of the host, not of its GPUs");
  const ModeOptions options = mode_options(config, workers, place);
  const MachineRates rates =
      measure_machine({.threads = options.step.threads,
                       .row_width = static_cast<std::int64_t>(dataset->feature_width()),
                       .passes = 3});
  const std::vector<ModeEstimate> estimates = estimate_modes(*dataset, options, rates, log);
  for (const ModeEstimate& estimate : estimates) log.info("mode auto: " + as_text(estimate));
  const ModeEstimate& best = fastest_of(estimates);
  take(config, best.mode, best.group_size);
  log.info("mode auto: takes " + named(config));
}

void share_mode(TrainConfig& config, Communicator& communicator) {
  SharedMode shared{.group_size = config.group_size};
  GSPLIT_CHECK(config.mode.size() < shared.mode.size());
  std::copy(config.mode.begin(), config.mode.end(), shared.mode.begin());
  communicator.broadcast(std::as_writable_bytes(std::span(&shared, 1)), 0);
  take(config, shared.mode.data(), shared.group_size);
}

}  // namespace gsplit
