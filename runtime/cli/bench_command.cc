// gsplit bench: what a step takes, counted without training.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <thread>

#include "runtime/bench/volume_report.h"
#include "runtime/cli/command.h"
#include "runtime/cli/log.h"
#include "runtime/train/config.h"

namespace gsplit {
namespace {

struct BenchFlags {
  std::string dataset;
  bool volumes = false;
  bool json = false;
  std::string fanout = "15,10,5";
  std::vector<std::string> methods{"auto"};
  VolumeReportOptions options{
      .threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
};

/// The log's lines go to stdout, which --json leaves to the objects.
Log warnings_only() {
  return {.info_sink = {},
          .warning_sink = [](const std::string& line) { std::cerr << line << std::endl; }};
}

ExitCode bench(const BenchFlags& flags) {
  if (!flags.volumes)
    throw UsageError("gsplit bench does not know what to measure", "give --volumes");
  VolumeReportOptions options = flags.options;
  options.fanout = parse_fanout(flags.fanout, "--fanout");
  options.methods.clear();
  for (const std::string& method : flags.methods)
    options.methods.push_back(partition_method_from_name(method));
  const Log log = flags.json ? warnings_only() : make_log(false);
  if (!flags.json) std::cout << volume_header() << std::endl;
  report_volumes(open_dataset(flags.dataset), options, log, [&](const VolumeLine& line) {
    std::cout << (flags.json ? as_json(line) : as_text(line)) << std::endl;
  });
  return ExitCode::kDone;
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  VolumeReportOptions& options = flags->options;
  CLI::App* command =
      app.add_subcommand("bench", "What a training step takes, counted without training");
  command->add_option("dataset", flags->dataset, "Dataset directory")->required();
  command->add_flag("--volumes", flags->volumes,
                    "Edges, rows, FLOPs and shuffled bytes of a step of GraphSAGE in modes split, "
                    "data, p3 and hybrid");
  command->add_option("--workers", options.workers, "Numbers of workers, up to 64")->delimiter(',');
  command->add_option("--batch-size", options.batch_sizes, "Global batch sizes")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--partition", flags->methods,
                   "auto, metis, stream, random, range; several are compared")
      ->delimiter(',');
  command->add_option("--group-size", options.group_size,
                      "Workers of a group of mode hybrid; 0: without this mode");
  command
      ->add_option("--cache-budget", options.cache_budget,
                   "Share of all nodes that a worker of mode data caches")
      ->check(CLI::Range(0.0, 1.0));
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
