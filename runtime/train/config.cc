#include "runtime/train/config.h"

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <charconv>

#include "kernels/base/error.h"
#include "kernels/base/sampler.h"
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

std::vector<std::int32_t> parse_eval_fanout(const std::string& text, std::size_t layers) {
  if (text == "full") return {};
  std::vector<std::int32_t> fanout = parse_fanout(text, "--eval-fanout");
  if (fanout.size() != layers) {
    throw UsageError("--eval-fanout " + text + " is not for " + std::to_string(layers) + " layers",
                     "give full, or one entry per entry of --fanout");
  }
  return fanout;
}

std::string format_fanout(const std::vector<std::int32_t>& fanout) {
  std::string text;
  for (std::int32_t k : fanout) text += (text.empty() ? "" : ",") + std::to_string(k);
  return text;
}

DType parse_precision(const std::string& name) {
  if (name == "fp64") return DType::kF64;
  if (name == "fp32") return DType::kF32;
  if (name == "bf16") return DType::kBF16;
  throw UsageError("--precision " + name + " is unknown", "choose fp32, bf16 or fp64");
}

TrainConfig from_yaml(const std::string& yaml, const std::string& origin) {
  TrainConfig config;
  try {
    const YAML::Node root = YAML::Load(yaml);
    const auto read = [&root](const char* key, auto& target) {
      if (const YAML::Node node = root[key]) target = node.as<std::decay_t<decltype(target)>>();
    };
    std::string dataset, fanout, init_from, eval_fanout = "full",
                                            precision = name_of(config.precision);
    read("dataset", dataset);
    read("model", config.model);
    read("fanout", fanout);
    read("sampler", config.sampler);
    read("hidden", config.hidden);
    read("heads", config.heads);
    read("dropout", config.dropout);
    read("attn-dropout", config.attn_dropout);
    read("norm", config.norm);
    read("residual", config.residual);
    read("normalize-features", config.normalize_features);
    read("input-dropout", config.input_dropout);
    read("read-ahead", config.read_ahead);
    read("edge-weights", config.edge_weights);
    read("batch-size", config.batch_size);
    read("epochs", config.epochs);
    read("max-steps", config.max_steps);
    read("drop-last", config.drop_last);
    read("lr", config.lr);
    read("lr-schedule", config.lr_schedule);
    read("warmup-steps", config.warmup_steps);
    read("lr-step-epochs", config.lr_step_epochs);
    read("lr-gamma", config.lr_gamma);
    read("optimizer", config.optimizer);
    read("momentum", config.momentum);
    read("weight-decay", config.weight_decay);
    read("clip-norm", config.clip_norm);
    read("class-weights", config.class_weights);
    read("early-stop", config.early_stop);
    read("init-from", init_from);
    read("seed", config.seed);
    read("mode", config.mode);
    read("cache", config.cache);
    read("cache-budget", config.cache_budget);
    read("group-size", config.group_size);
    read("device", config.device);
    read("partition", config.partition);
    read("precision", precision);
    read("wire", config.wire);
    config.route = "pull";  // of runs from before there were others
    read("route", config.route);
    read("cover", config.cover);
    read("order", config.order);
    read("spmm", config.spmm);
    read("matmul", config.matmul);
    read("gpu-graph", config.gpu_graph);
    read("gpu-features", config.gpu_features);
    read("gpu-data", config.gpu_data);
    read("bind", config.bind);
    read("gpu-cache", config.gpu_cache);
    read("prefetch", config.prefetch);
    read("eval-every", config.eval_every);
    read("checkpoint-every-steps", config.checkpoint_every_steps);
    read("checkpoint-minutes", config.checkpoint_minutes);
    read("keep", config.keep);
    read("eval-fanout", eval_fanout);
    read("trace-steps", config.trace_steps);
    read("metrics-port", config.metrics_port);
    config.dataset = dataset;
    config.fanout = parse_fanout(fanout, "fanout");
    config.init_from = init_from;
    config.eval_fanout = parse_eval_fanout(eval_fanout, config.fanout.size());
    config.precision = parse_precision(precision);
    sampler_from_name(config.sampler);
  } catch (const YAML::Exception& error) {
    throw UsageError(origin + ": " + error.what(), "give the config.yaml that a run wrote");
  }
  return config;
}

std::string to_yaml(const TrainConfig& config) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  const auto entry = [&](const char* key, const auto& value) {
    out << YAML::Key << key << YAML::Value;
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>) {
      out << fmt::format("{}", value);  // the shortest text that reads back as the same number
    } else {
      out << value;
    }
  };
  if (!config.dataset.empty()) entry("dataset", config.dataset.string());
  entry("model", config.model);
  entry("fanout", format_fanout(config.fanout));
  entry("sampler", config.sampler);
  entry("hidden", config.hidden);
  entry("heads", config.heads);
  entry("dropout", config.dropout);
  entry("attn-dropout", config.attn_dropout);
  entry("norm", config.norm);
  entry("residual", config.residual);
  entry("normalize-features", config.normalize_features);
  entry("input-dropout", config.input_dropout);
  entry("read-ahead", config.read_ahead);
  entry("edge-weights", config.edge_weights);
  entry("batch-size", config.batch_size);
  entry("epochs", config.epochs);
  if (config.max_steps > 0) entry("max-steps", config.max_steps);
  entry("drop-last", config.drop_last);
  entry("lr", config.lr);
  entry("lr-schedule", config.lr_schedule);
  entry("warmup-steps", config.warmup_steps);
  entry("lr-step-epochs", config.lr_step_epochs);
  entry("lr-gamma", config.lr_gamma);
  entry("optimizer", config.optimizer);
  entry("momentum", config.momentum);
  entry("weight-decay", config.weight_decay);
  entry("clip-norm", config.clip_norm);
  entry("class-weights", config.class_weights);
  entry("early-stop", config.early_stop);
  if (!config.init_from.empty()) entry("init-from", config.init_from.string());
  entry("seed", config.seed);
  entry("mode", config.mode);
  if (config.group_size > 0) entry("group-size", config.group_size);
  entry("cache", config.cache);
  if (config.cache != "none") entry("cache-budget", config.cache_budget);
  entry("device", config.device);
  entry("partition", config.partition);
  entry("precision", name_of(config.precision));
  entry("wire", config.wire);
  entry("route", config.route);
  entry("cover", config.cover);
  entry("order", config.order);
  entry("spmm", config.spmm);
  entry("matmul", config.matmul);
  entry("gpu-graph", config.gpu_graph);
  entry("gpu-features", config.gpu_features);
  entry("gpu-data", config.gpu_data);
  entry("gpu-cache", config.gpu_cache);
  entry("workers", config.workers);
  entry("threads", config.threads);
  entry("bind", config.bind);
  entry("prefetch", config.prefetch);
  entry("eval-every", config.eval_every);
  entry("eval-fanout", config.eval_fanout.empty() ? "full" : format_fanout(config.eval_fanout));
  entry("checkpoint-every-steps", config.checkpoint_every_steps);
  entry("checkpoint-minutes", config.checkpoint_minutes);
  entry("keep", config.keep);
  entry("trace-steps", config.trace_steps);
  if (!config.metrics_port.empty()) entry("metrics-port", config.metrics_port);
  entry("deadline", static_cast<double>(config.deadline.count()) / 1000);
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace gsplit
