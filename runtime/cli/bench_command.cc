// gsplit bench: what a step takes, without training.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <thread>

#include "runtime/bench/floor.h"
#include "runtime/bench/projection.h"
#include "runtime/bench/volume_report.h"
#include "runtime/cli/command.h"
#include "runtime/cli/log.h"
#include "runtime/train/config.h"

namespace gsplit {
namespace {

struct BenchFlags {
  std::string dataset;
  bool volumes = false;
  bool floor = false;
  std::string project;
  bool features_on_device = false;
  bool json = false;
  std::string fanout = "15,10,5";
  std::string model = "sage";
  std::string sampler = "uniform";
  int heads = 4;
  std::vector<std::string> methods{"auto"};
  std::vector<std::string> weights{"samples"};
  VolumeReportOptions options{
      .threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
};

/// The log's lines go to stdout, which --json leaves to the objects.
Log warnings_only() {
  return {.info_sink = {},
          .warning_sink = [](const std::string& line) { std::cerr << line << std::endl; }};
}

VolumeReportOptions volume_options(const BenchFlags& flags) {
  VolumeReportOptions options = flags.options;
  options.fanout = parse_fanout(flags.fanout, "--fanout");
  options.sampler = sampler_from_name(flags.sampler);
  options.methods.clear();
  for (const std::string& method : flags.methods) {
    options.methods.push_back(partition_method_from_name(method));
  }
  options.weights.clear();
  for (const std::string& weights : flags.weights) {
    options.weights.push_back(partition_weights_from_name(weights));
  }
  return options;
}

ExitCode report_volumes(const BenchFlags& flags, const Log& log) {
  if (!flags.json) std::cout << volume_header() << std::endl;
  report_volumes(open_dataset(flags.dataset), volume_options(flags), log,
                 [&](const VolumeLine& line) {
                   std::cout << (flags.json ? as_json(line) : as_text(line)) << std::endl;
                 });
  return ExitCode::kDone;
}

/// Weights of GraphSAGE: two matrices a layer, and a bias.
double num_weights(const Dataset& dataset, const VolumeReportOptions& options) {
  double weights = 0, in = static_cast<double>(dataset.feature_width());
  for (std::size_t l = 0; l < options.fanout.size(); ++l) {
    const bool last = l + 1 == options.fanout.size();
    const double out = last ? dataset.num_classes : static_cast<double>(options.hidden);
    weights += (2 * in + 1) * out;
    in = out;
  }
  return weights;
}

ExitCode report_projection(const BenchFlags& flags, const Log& log) {
  const DeviceRates rates = read_device_rates(flags.project);
  const VolumeReportOptions options = volume_options(flags);
  const Dataset dataset = open_dataset(flags.dataset);
  ProjectionOptions projected{
      .layers = options.fanout.size(),
      .row_bytes = static_cast<double>(dataset.feature_width()) * sizeof(float),
      .weights = num_weights(dataset, options),
      .num_train = dataset.train.nodes.size(),
      .on_device = flags.features_on_device};
  if (!flags.json) std::cout << rates.name << "\n" << projection_header() << std::endl;
  std::map<std::pair<int, int>, double> data_epochs;  // by workers and batch size
  report_volumes(dataset, options, log, [&](const VolumeLine& line) {
    for (const bool cached : {false, true}) {
      if (cached && (line.cached_rows == 0 || projected.on_device)) continue;
      projected.cached = cached;
      const Projection projection = project(line, rates, projected);
      double& data_epoch = data_epochs[{line.workers, line.batch_size}];
      if (line.mode == "data" && !cached) data_epoch = projection.epoch;
      std::cout << (flags.json ? as_json(line, projection, cached)
                               : as_text(line, projection, data_epoch, cached))
                << std::endl;
    }
  });
  return ExitCode::kDone;
}

ExitCode report_floor(const BenchFlags& flags, const Log& log) {
  const Dataset dataset = open_dataset(flags.dataset);
  const StepCounts counts = count_step(dataset,
                                       {.model = flags.model,
                                        .fanout = parse_fanout(flags.fanout, "--fanout"),
                                        .batch_size = flags.options.batch_sizes.front(),
                                        .hidden = flags.options.hidden,
                                        .heads = flags.heads,
                                        .seed = flags.options.seed,
                                        .threads = flags.options.threads},
                                       log);
  const MachineRates rates =
      measure_machine({.threads = flags.options.threads,
                       .row_width = static_cast<std::int64_t>(dataset.feature_width())});
  std::cout << (flags.json ? as_json(counts, rates) : as_text(counts, rates)) << std::endl;
  return ExitCode::kDone;
}

ExitCode bench(const BenchFlags& flags) {
  if (int{flags.volumes} + int{flags.floor} + int{!flags.project.empty()} != 1) {
    throw UsageError("gsplit bench measures one thing at a time",
                     "give --volumes, --floor or --project");
  }
  const Log log = flags.json ? warnings_only() : make_log(false);
  if (!flags.project.empty()) return report_projection(flags, log);
  return flags.volumes ? report_volumes(flags, log) : report_floor(flags, log);
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  VolumeReportOptions& options = flags->options;
  CLI::App* command = app.add_subcommand("bench", "What a training step takes, without training");
  command->add_option("dataset", flags->dataset, "Dataset directory")->required();
  command->add_flag("--volumes", flags->volumes,
                    "Edges, rows, FLOPs and shuffled bytes of a step of GraphSAGE in modes split, "
                    "data, p3 and hybrid");
  command->add_flag("--floor", flags->floor,
                    "The least that a step can take on this machine: its counts at the rates that "
                    "the machine reaches");
  command->add_option("--project", flags->project,
                      "What an epoch would take in each mode on workers and links of the rates in "
                      "this file (bench/rates), from counts");
  command->add_flag(
      "--features-on-device", flags->features_on_device,
      "--project: workers hold all features among them, so that none come from hosts");
  command->add_option("--model", flags->model, "--floor: sage, gcn, gat or gin");
  command->add_option("--heads", flags->heads, "--floor: of gat")->check(CLI::PositiveNumber);
  command
      ->add_option("--workers", options.workers,
                   "--volumes, --project: numbers of workers, up to 64")
      ->delimiter(',');
  command
      ->add_option("--batch-size", options.batch_sizes,
                   "Global batch sizes; --floor takes the first")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--partition", flags->methods,
                   "--volumes, --project: auto, metis, stream, random, range; several are compared")
      ->delimiter(',');
  command
      ->add_option(
          "--partition-weights", flags->weights,
          "--volumes, --project: what weighs edges and nodes for metis and stream: samples "
          "(drawn by --sampler), plain (each weighs 1), edges (a node weighs its in-edges), or "
          "samples drawn by uniform, labor or weighted; several are compared")
      ->delimiter(',');
  command->add_option(
      "--group-size", options.group_size,
      "--volumes, --project: workers of a group of mode hybrid; 0: without this mode");
  command
      ->add_option("--cache-budget", options.cache_budget,
                   "--volumes, --project: share of all nodes that a worker of mode data caches")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--sampler", flags->sampler,
                      "--volumes, --project: uniform, labor or weighted");
  command->add_option("--fanout", flags->fanout, "Nearest the seeds first");
  command->add_option("--hidden", options.hidden, "Width of hidden layers")
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", options.seed, "Of the presample and the partitioner");
  command->add_option("--threads", options.threads, "Threads; the counts do not depend on it")
      ->check(CLI::Range(1, 4096));
  command->add_flag("--json", flags->json, "One JSON object a line and nothing else");
  command->callback([flags, &action] { action = [flags] { return bench(*flags); }; });
}

}  // namespace gsplit
