#include "runtime/train/config.h"

#include <yaml-cpp/yaml.h>

#include <charconv>

#include "kernels/base/error.h"
#include "kernels/sampling.h"

namespace gsplit {
namespace {

std::int32_t parse_one_fanout(const std::string& text, const std::string& flag) {
  if (text == "full") return kFullFanout;
  std::int32_t fanout = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fanout);
  if (error != std::errc{} || end != text.data() + text.size() || fanout == 0 || fanout < -1) {
    throw UsageError(flag + ": '" + text + "' is not a fanout",
                     "give positive integers, or -1 or full for all neighbours, such as 15,10,5");
  }
  return fanout;
}

}  // namespace

std::vector<std::int32_t> parse_fanout(const std::string& text, const std::string& flag) {
  std::vector<std::int32_t> fanout;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    fanout.push_back(parse_one_fanout(text.substr(begin, end - begin), flag));
    begin = end + 1;
  }
  return fanout;
}

std::string format_fanout(const std::vector<std::int32_t>& fanout) {
  std::string text;
  for (std::int32_t k : fanout) text += (text.empty() ? "" : ",") + std::to_string(k);
  return text;
}

std::string to_yaml(const TrainConfig& config) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  const auto entry = [&](const char* key, const auto& value) {
    out << YAML::Key << key << YAML::Value << value;
  };
  entry("dataset", config.dataset.string());
  entry("model", config.model);
  entry("fanout", format_fanout(config.fanout));
  entry("hidden", config.hidden);
  entry("dropout", config.dropout);
  entry("batch-size", config.batch_size);
  entry("epochs", config.epochs);
  if (config.max_steps > 0) entry("max-steps", config.max_steps);
  entry("drop-last", config.drop_last);
  entry("lr", config.lr);
  entry("weight-decay", config.weight_decay);
  entry("seed", config.seed);
  entry("partition", config.partition);
  entry("precision", name_of(config.precision));
  entry("workers", config.workers);
  entry("threads", config.threads);
  entry("eval-every", config.eval_every);
  entry("deadline", static_cast<double>(config.deadline.count()) / 1000);
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace gsplit
