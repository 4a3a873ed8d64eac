// gsplit partition: cuts a dataset into shards, outside the cache.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>

#include "graph/dataset.h"
#include "partition/prepare.h"
#include "runtime/cli/command.h"
#include "runtime/cli/log.h"
#include "runtime/train/config.h"

namespace gsplit {
namespace {

struct PartitionFlags {
  std::string dataset;
  std::string method = "auto";
  std::string fanout = "15,10,5";
  std::string sampler = "uniform";
  std::string out;
  PrepareOptions options{.threads =
                             static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
};

ExitCode partition(const PartitionFlags& flags) {
  PrepareOptions options = flags.options;
  options.method = partition_method_from_name(flags.method);
  options.fanout = parse_fanout(flags.fanout, "--fanout");
  options.sampler = sampler_from_name(flags.sampler);
  const Log log = make_log(false);
  write_partition(open_dataset(flags.dataset), options, flags.out, log);
  log.info("wrote " + flags.out);
  return ExitCode::kDone;
}

}  // namespace

void add_partition_command(CLI::App& app, Action& action) {
  auto flags = std::make_shared<PartitionFlags>();
  CLI::App* command = app.add_subcommand("partition", "Cut a dataset into shards");
  command->add_option("dataset", flags->dataset, "Dataset directory")->required();
  command->add_option("--parts", flags->options.parts, "Number of parts")->required();
  command->add_option("--method", flags->method,
                      "auto (metis where memory suffices, else stream), metis, stream, random, "
                      "range or file");
  command->add_option("--assignment", flags->options.assignment,
                      "With --method file: .npy of integers, the part of each node");
  command->add_option("--fanout", flags->fanout,
                      "Fanouts of the presample, nearest the seeds first");
  command->add_option("--sampler", flags->sampler,
                      "Of the presample: uniform, labor or weighted, as that of training");
  command->add_option("--seed", flags->options.seed, "Of the presample and the partitioner");
  command->add_option("--out", flags->out, "Directory to make; must not exist")->required();
  command
      ->add_option("--threads", flags->options.threads, "Threads; the shards do not depend on it")
      ->check(CLI::Range(1, 4096));
  command->callback([flags, &action] { action = [flags] { return partition(*flags); }; });
}

}  // namespace gsplit
