#include "runtime/train/step_event.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace gsplit {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kWorkersAStep = 8;

const char* route_name(Cargo cargo, const std::string& route) {
  switch (cargo) {
    case Cargo::kNothing:
      return "none";
    case Cargo::kRows:
      return "pull";
    case Cargo::kProjected:
      return "project";
    case Cargo::kSums:
      return route == "push" ? "push" : "mixed";
    case Cargo::kColumnParts:
      return "columns";
    case Cargo::kCachedRows:
      return "cache";
  }
  return "none";
}

Json layer_fields(const StepReport& total, std::size_t layers, const std::string& route) {
  Json fields = Json::array();
  for (std::size_t l = 0; l < std::min(layers, kCountedLayers); ++l) {
    const LayerTraffic& traffic = total.traffic[l];
    fields.push_back({{"route", route_name(traffic.cargo, route)},
                      {"bytes", traffic.bytes},
                      {"bytes_pull", traffic.bytes_pull}});
  }
  return fields;
}

/// As many digits as the clock's.
double in_microseconds(double seconds) { return std::round(seconds * 1e6) / 1e6; }

}  // namespace

Json step_fields(const StepPlan& plan, const StepReport& total, std::size_t layers,
                 const std::string& route) {
  const LayerTraffic shuffle = total.shuffle();
  return {{"epoch", plan.epoch},
          {"step", plan.step},
          {"loss", total.mean_loss()},
          {"lr", total.learning_rate},
          {"seeds", total.seeds},
          {"edges", total.edges},
          {"input_rows", total.input_rows},
          {"rows_cache", total.rows_cache},
          {"rows_remote", total.rows_remote},
          {"rows_disk", total.rows_disk},
          {"rows_copied", total.rows_copied},
          {"bus_bytes", total.bus_bytes},
          {"shuffle_bytes", shuffle.bytes},
          {"shuffle_bytes_pull", shuffle.bytes_pull},
          {"plan_bytes", total.plan_bytes},
          {"allreduce_bytes", total.allreduce_bytes},
          {"sample_s", total.sample_s},
          {"load_s", total.load_s},
          {"compute_s", total.compute_s},
          {"comm_s", total.comm_s},
          {"plan_wait_s", total.plan_wait_s},
          {"prepare_wait_s", total.prepare_wait_s},
          {"shuffle_layers", layer_fields(total, layers, route)}};
}

void WorkerSums::add(std::span<const StepReport> workers) {
  ++steps_;
  for (std::size_t p = 0; p < sums_.size(); ++p) {
    StepReport& sum = sums_[p];
    const StepReport& worker = workers[p];
    for (auto count : {&StepReport::seeds, &StepReport::edges, &StepReport::input_rows}) {
      sum.*count += worker.*count;
    }
    for (auto seconds : {&StepReport::sample_s, &StepReport::load_s, &StepReport::compute_s,
                         &StepReport::comm_s}) {
      sum.*seconds += worker.*seconds;
    }
    sum.traffic.front() += worker.shuffle();
    sum.peak_rss_bytes = std::max(sum.peak_rss_bytes, worker.peak_rss_bytes);
    sum.device_bytes = std::max(sum.device_bytes, worker.device_bytes);
  }
}

std::optional<Json> WorkerSums::take(std::uint64_t step, bool flush) {
  const std::size_t every = (sums_.size() + kWorkersAStep - 1) / kWorkersAStep;
  if (steps_ == 0 || (!flush && step % std::max<std::size_t>(every, 1) != 0)) return std::nullopt;
  Json fields{{"steps", steps_}};
  const auto list = [&](const char* name, const auto& value_of) {
    Json& values = fields[name] = Json::array();
    for (const StepReport& sum : sums_) values.push_back(value_of(sum));
  };
  list("seeds", [](const StepReport& sum) { return sum.seeds; });
  list("edges", [](const StepReport& sum) { return sum.edges; });
  list("input_rows", [](const StepReport& sum) { return sum.input_rows; });
  list("shuffle_bytes", [](const StepReport& sum) { return sum.shuffle().bytes; });
  list("sample_s", [](const StepReport& sum) { return in_microseconds(sum.sample_s); });
  list("load_s", [](const StepReport& sum) { return in_microseconds(sum.load_s); });
  list("compute_s", [](const StepReport& sum) { return in_microseconds(sum.compute_s); });
  list("comm_s", [](const StepReport& sum) { return in_microseconds(sum.comm_s); });
  list("peak_rss_bytes", [](const StepReport& sum) { return sum.peak_rss_bytes; });
  list("device_bytes", [](const StepReport& sum) { return sum.device_bytes; });
  std::fill(sums_.begin(), sums_.end(), StepReport{});
  steps_ = 0;
  return fields;
}

}  // namespace gsplit
