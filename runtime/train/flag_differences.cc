#include "runtime/train/flag_differences.h"

#include <yaml-cpp/yaml.h>

#include <map>
#include <set>

namespace gsplit {
namespace {

using Names = std::set<std::string>;
using Flags = std::map<std::string, std::string>;

Flags flags_in(const std::string& yaml) {
  Flags flags;
  for (const auto& entry : YAML::Load(yaml)) flags[entry.first.Scalar()] = entry.second.Scalar();
  return flags;
}

/// Of two texts of flags, but for the names in `ignored`.
std::vector<FlagDifference> differences(const std::string& before, const std::string& now,
                                        const Names& ignored) {
  Flags old_flags = flags_in(before), new_flags = flags_in(now);
  for (const auto& [name, value] : old_flags) new_flags.try_emplace(name, "not given");
  std::vector<FlagDifference> found;
  for (const auto& [name, value] : new_flags) {
    const std::string old_value = old_flags.try_emplace(name, "not given").first->second;
    if (old_value != value && !ignored.contains(name)) found.push_back({name, old_value, value});
  }
  return found;
}

}  // namespace

std::vector<FlagDifference> resume_differences(const TrainConfig& before, const TrainConfig& now) {
  static const Names may_change{"dataset",
                                "epochs",
                                "max-steps",
                                "workers",
                                "group-size",
                                "threads",
                                "bind",
                                "partition",
                                "device",
                                "eval-every",
                                "eval-fanout",
                                "early-stop",
                                "trace-steps",
                                "metrics-port",
                                "deadline",
                                "keep",
                                "checkpoint-every-steps",
                                "checkpoint-minutes",
                                "read-ahead",
                                "prefetch",
                                "cover",
                                "spmm",
                                "gpu-graph",
                                "gpu-features",
                                "gpu-data",
                                "gpu-cache",
                                "cache",
                                "cache-budget"};
  return differences(to_yaml(before), to_yaml(now), may_change);
}

std::string shared_flags(const TrainConfig& config) {
  YAML::Emitter others;  // those that config.yaml does not keep
  others << YAML::BeginMap << "resume" << config.resume << "dry-run" << config.dry_run
         << "dump-blocks" << config.dump_blocks.string() << "coordinator" << config.coordinator
         << "coordinator-bind" << config.coordinator_bind << YAML::EndMap;
  return to_yaml(config) + others.c_str() + "\n";
}

std::vector<FlagDifference> rank_differences(const std::string& first, const std::string& other) {
  static const Names may_differ{"dataset", "workers", "threads", "bind"};
  return differences(first, other, may_differ);
}

}  // namespace gsplit
