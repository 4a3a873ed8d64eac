// gsplit import: turns published graphs into datasets.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "graph/features.h"
#include "graph/import/import.h"
#include "kernels/base/available_memory.h"
#include "runtime/cli/command.h"
#include "runtime/cli/log.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kLeastDefault = std::uint64_t{1} << 26;

struct ImportFlags {
  std::string format = "graphbolt";
  std::string split;
  std::string memory;
  std::string feature_dtype;
  std::string out;
  ImportOptions options{.threads =
                            static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
};

ImportFormat format_from_name(const std::string& name) {
  if (name == "graphbolt") return ImportFormat::kGraphBolt;
  if (name == "ogb") return ImportFormat::kOgb;
  if (name == "edgelist") return ImportFormat::kEdgeList;
  if (name == "npz") return ImportFormat::kNpz;
  throw UsageError("--format " + name + " is not known",
                   "available: graphbolt, ogb, edgelist, npz");
}

/// TRAIN,VALID,TEST.
SplitShares parse_shares(const std::string& text) {
  std::vector<double> shares;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (shares.size() < 3) {
    const auto [behind, error] = std::from_chars(at, end, shares.emplace_back());
    const bool last = shares.size() == 3;
    if (error != std::errc{} || (last ? behind != end : behind == end || *behind != ',')) {
      throw UsageError("--split random:" + text + " is not understood",
                       "give three shares, as in random:0.1,0.05,0.1");
    }
    at = behind + 1;
  }
  return {shares[0], shares[1], shares[2]};
}

/// Half of what this process may still take: of the machine's memory, or of its control group's.
std::uint64_t half_of_memory() {
  const std::uint64_t physical = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                                 static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return std::max(kLeastDefault, std::min(physical, available_memory()) / 2);
}

ExitCode import_with(const ImportFlags& flags) {
  constexpr const char* kRandom = "random:";
  ImportOptions options = flags.options;
  options.format = format_from_name(flags.format);
  if (!flags.feature_dtype.empty()) {
    options.feature_dtype = feature_dtype_from_name(flags.feature_dtype);
  }
  options.memory = flags.memory.empty() ? half_of_memory() : parse_bytes(flags.memory, "--memory");
  if (flags.split.starts_with(kRandom)) {
    options.random_split = parse_shares(flags.split.substr(std::string(kRandom).size()));
  } else {
    options.scheme = flags.split;
  }
  import_dataset(options, flags.out, make_log(false));
  return ExitCode::kDone;
}

void add_node_flags(CLI::App& command, ImportFlags& flags) {
  const CLI::Range positive(std::int64_t{1}, std::numeric_limits<std::int64_t>::max());
  command
      .add_option("--split", flags.split,
                  "random:TRAIN,VALID,TEST, shares of the labelled nodes; or the name of one of "
                  "OGB's schemes. Default: the input's splits, else random:0.1,0.05,0.1")
      ->option_text("SPLIT");
  command
      .add_option("--features-random", flags.options.features,
                  "edgelist: floats a node to generate")
      ->check(positive);
  command
      .add_option("--feature-dtype", flags.feature_dtype,
                  "fp32, fp16 or bf16: as stored. Default: arrays stay what they are, text and "
                  "generated features become fp32")
      ->option_text("TYPE");
  command
      .add_option("--classes", flags.options.classes, "edgelist: classes to generate, by in-degree")
      ->check(positive);
  command
      .add_option("--nodes", flags.options.num_nodes,
                  "edgelist: number of nodes; default: largest id + 1")
      ->option_text("N")
      ->check(positive);
  command.add_option("--seed", flags.options.seed, "Of random splits and generated nodes");
}

}  // namespace

void add_import_command(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ImportFlags>();
  CLI::App* command = app.add_subcommand("import", "Turn a published graph into a dataset");
  EdgeSteps& steps = flags->options.steps;
  command->add_option(
      "--format", flags->format,
      "graphbolt: OnDiskDataset directory, edges csv or npy; ogb: node property directory, csv or "
      "binary; edgelist: text, perhaps .gz or .zst; npz");
  command->add_option("input", flags->options.input, "File or directory")->required();
  command->add_option("--out", flags->out, "Directory to make; must not exist")->required();
  command->add_flag("--drop-self-loops", steps.drop_self_loops, "Leave out edges (v, v)");
  command->add_flag("--reverse-edges", steps.reverse, "Follow each edge (u, v) by (v, u)");
  command->add_flag("--add-self-loops", steps.add_self_loops, "One (v, v) for every node");
  command->add_flag("--dedup", steps.dedup,
                    "Keep the first of parallel edges; sorts by destination, then source. The four "
                    "steps are taken in this order");
  add_node_flags(*command, *flags);
  command
      ->add_option("--memory", flags->memory,
                   "For sorting, in bytes or with K, M, G; beyond it edges are spilled beside "
                   "--out. Default: half of what is available. The files do not depend on it")
      ->option_text("BYTES");
  command->add_option("--threads", flags->options.threads, "Threads; the files do not depend on it")
      ->check(CLI::Range(1, 4096));
  command->callback([flags, &action] { action = [flags] { return import_with(*flags); }; });
}

}  // namespace gsplit
