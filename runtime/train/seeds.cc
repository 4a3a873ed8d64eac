#include "runtime/train/seeds.h"

#include <fmt/core.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "graph/json_input.h"
#include "graph/task.h"
#include "runtime/train/run_directory.h"

namespace gsplit {
namespace {

/// What a run's events say of the test nodes.
struct TestScore {
  std::string metric = metric_of(Task::kMultiClass);
  std::optional<double> value;  ///< nothing for a dataset without test nodes
};

TestScore test_score(const std::filesystem::path& run_dir) {
  std::ifstream events(run_dir / "events.jsonl");
  TestScore score;
  for (std::string line; std::getline(events, line);) {
    const auto event = parse_json<nlohmann::json>(line);
    if (!event.is_object()) continue;
    const std::string name = text_or(event, "event", "");
    if (name == "run_start") score.metric = text_or(event, "metric", score.metric);
    if (name == "run_end" && event.contains("test_acc") && event["test_acc"].is_number()) {
      score.value = event["test_acc"].get<double>();
    }
  }
  return score;
}

}  // namespace

std::vector<TrainConfig> one_per_seed(const TrainConfig& config) {
  std::vector<TrainConfig> configs(config.seeds, config);
  for (std::size_t i = 0; i < configs.size(); ++i) {
    configs[i].seeds = 1;
    configs[i].seed = config.seed + i;
    configs[i].run_dir = config.run_dir / ("seed-" + std::to_string(configs[i].seed));
  }
  return configs;
}

void check_seed_directories(const std::vector<TrainConfig>& configs) {
  for (const TrainConfig& config : configs)
    check_run_directory(config.run_dir, config.overwrite, config.resume);
}

Spread spread_of(const std::vector<double>& values) {
  const double count = static_cast<double>(values.size());
  Spread spread{.mean = std::accumulate(values.begin(), values.end(), 0.0) / count};
  if (values.size() == 1) return spread;
  double squares = 0;
  for (double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.deviation = std::sqrt(squares / (count - 1));
  return spread;
}

std::string summary_of_seeds(const std::vector<TrainConfig>& configs) {
  std::vector<double> values;
  std::string metric;
  for (const TrainConfig& config : configs) {
    const TestScore score = test_score(config.run_dir);
    if (score.value) values.push_back(*score.value);
    metric = score.metric;
  }
  if (values.empty()) return fmt::format("{} seeds: no test nodes", configs.size());
  const Spread spread = spread_of(values);
  return fmt::format("{} seeds: test {} {:.2f} % mean, {:.2f} % standard deviation", values.size(),
                     metric, 100 * spread.mean, 100 * spread.deviation);
}

}  // namespace gsplit
