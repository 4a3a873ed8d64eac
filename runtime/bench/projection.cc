#include "runtime/bench/projection.h"

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "graph/small_file.h"
#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// Of a layer: rows forward, gradients backward, ids, counts.
constexpr double kExchangesPerLayer = 4;
constexpr double kElementBytes = 4;

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& problem) {
  throw UsageError(file.string() + ": " + problem, "bench/rates has examples");
}

double number_of(const YAML::Node& value, const std::string& key,
                 const std::filesystem::path& file) {
  double number = 0;
  if (!value.IsScalar() || !YAML::convert<double>::decode(value, number) ||
      !std::isfinite(number) || number <= 0) {
    refuse(file, key + " is not a positive number");
  }
  return number;
}

YAML::Node parse(const std::filesystem::path& file) {
  try {
    return YAML::Load(read_small_file(file, kMostYamlBytes));
  } catch (const YAML::Exception& error) {
    refuse(file, std::string("no YAML: ") + error.what());
  }
}

/// Share of what a worker sends that goes to other hosts, where it sends to all alike.
double remote_share(int workers, int per_host) {
  if (workers <= per_host) return 0;
  return static_cast<double>(workers - per_host) / static_cast<double>(workers - 1);
}

/// Seconds for `bytes` that a worker sends to others.
double sending(double bytes, int workers, const DeviceRates& rates) {
  const double remote = remote_share(workers, rates.workers_per_host);
  return bytes * ((1 - remote) / rates.peer_bytes + remote / rates.network_bytes);
}

/// Seconds in which the busiest worker gets its input rows.
double loading(const VolumeLine& line, const DeviceRates& rates, const ProjectionOptions& options) {
  const double rows = line.input_rows - (options.cached ? line.cached_rows : 0);
  const double bytes = rows * options.row_bytes * line.load_inputs / line.workers;
  if (!options.on_device) return bytes / rates.load_bytes;
  if (line.mode != "data" || line.workers == 1) return 0;
  return sending(bytes * (line.workers - 1) / line.workers, line.workers, rates) +
         2 * rates.exchange;
}

}  // namespace

DeviceRates read_device_rates(const std::filesystem::path& file) {
  DeviceRates rates;
  double workers_per_host = 0;
  const std::map<std::string, double*> places{{"workers_per_host", &workers_per_host},
                                              {"sampled_edges", &rates.sampled_edges},
                                              {"dense_flops", &rates.dense_flops},
                                              {"memory_bytes", &rates.memory_bytes},
                                              {"load_bytes", &rates.load_bytes},
                                              {"peer_bytes", &rates.peer_bytes},
                                              {"network_bytes", &rates.network_bytes},
                                              {"exchange", &rates.exchange},
                                              {"step", &rates.step}};
  const YAML::Node entries = parse(file);
  if (!entries.IsMap()) refuse(file, "it holds no rates");
  for (const auto& entry : entries) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
    if (key == "name" && entry.second.IsScalar()) {
      rates.name = entry.second.Scalar();
    } else if (const auto place = places.find(key); place != places.end()) {
      *place->second = number_of(entry.second, key, file);
    } else {
      refuse(file, "unknown key " + key);
    }
  }
  for (const auto& [key, place] : places) {
    if (*place == 0) refuse(file, key + " is missing");
  }
  rates.workers_per_host = static_cast<int>(std::min(workers_per_host, 1e6));
  if (rates.workers_per_host < 1) refuse(file, "workers_per_host is below 1");
  return rates;
}

Projection project(const VolumeLine& line, const DeviceRates& rates,
                   const ProjectionOptions& options) {
  const double workers = line.workers, busiest_edges = line.load_edges / workers;
  Projection result{.sample = line.edges * busiest_edges / rates.sampled_edges,
                    .load = loading(line, rates, options),
                    .compute = busiest_edges * (line.gflop * 1e9 / rates.dense_flops +
                                                line.moved_bytes / rates.memory_bytes),
                    .shuffle = sending(line.pull_bytes / workers, line.workers, rates),
                    .step = rates.step};
  if (line.pull_bytes > 0) {
    result.shuffle += kExchangesPerLayer * static_cast<double>(options.layers) * rates.exchange;
  }
  if (line.workers > 1) {
    const double bytes = 2 * options.weights * kElementBytes * (workers - 1) / workers;
    result.gradients = sending(bytes, line.workers, rates) + 2 * rates.exchange;
  }
  result.epoch =
      result.total() * std::ceil(static_cast<double>(options.num_train) / line.batch_size);
  return result;
}

std::string projection_header() {
  return fmt::format("{:14} {:14} {:>3} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>9} {:>8}",
                     "mode", "partition", "P", "batch", "sample", "load", "compute", "shuffle",
                     "gradients", "step ms", "epoch s", "to data");
}

std::string as_text(const VolumeLine& line, const Projection& projection, double data_epoch,
                    bool cached) {
  const auto ms = [](double seconds) { return 1e3 * seconds; };
  return fmt::format(
      "{:14} {:14} {:3} {:6} {:8.3f} {:8.3f} {:8.3f} {:8.3f} {:9.3f} {:8.3f} {:9.3f} {:8.2f}",
      line.mode + (cached ? " + cache" : ""), line.partition, line.workers, line.batch_size,
      ms(projection.sample), ms(projection.load), ms(projection.compute), ms(projection.shuffle),
      ms(projection.gradients), ms(projection.total()), projection.epoch,
      data_epoch / projection.epoch);
}

std::string as_json(const VolumeLine& line, const Projection& projection, bool cached) {
  return nlohmann::ordered_json{{"mode", line.mode},
                                {"cache", cached},
                                {"partition", line.partition},
                                {"workers", line.workers},
                                {"batch_size", line.batch_size},
                                {"sample_s", projection.sample},
                                {"load_s", projection.load},
                                {"compute_s", projection.compute},
                                {"shuffle_s", projection.shuffle},
                                {"gradients_s", projection.gradients},
                                {"step_s", projection.total()},
                                {"epoch_s", projection.epoch}}
      .dump();
}

}  // namespace gsplit
