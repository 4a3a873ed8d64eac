// gsplit inspect: says what a dataset, partition or checkpoint directory holds and, if asked, reads
// all of it and checks it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "graph/dataset.h"
#include "graph/degree_statistics.h"
#include "graph/json_input.h"
#include "graph/shard.h"
#include "graph/small_file.h"
#include "graph/verify.h"
#include "runtime/cli/command.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/verify_checkpoint.h"

namespace gsplit {
namespace {

using Json = nlohmann::ordered_json;
using Path = std::filesystem::path;

struct InspectFlags {
  std::string path;
  bool verify = false;
  bool json = false;
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
};

Json to_json(const DegreeStatistics& degree) {
  return {{"min", degree.min}, {"mean", degree.mean()}, {"max", degree.max}};
}

void note_findings(const Findings& findings, Json& report) {
  report["verified"] = findings.empty();
  if (!findings.empty()) report["findings"] = findings;
}

Json describe_dataset(const InspectFlags& flags) {
  const Dataset dataset = open_dataset(flags.path);
  Json report{{"kind", "dataset"},
              {"path", flags.path},
              {"name", dataset.name},
              {"nodes", dataset.num_nodes},
              {"edges", dataset.num_edges},
              {"edge_dtype", dataset.edges.type().name()},
              {"edge_weights", dataset.edge_weights ? dataset.edge_weights->type().name() : "none"},
              {"feature_width", dataset.feature_width()},
              {"feature_dtype", dataset.features.type().name()},
              {"classes", dataset.num_classes},
              {"task", name_of(dataset.task)},
              {"train", dataset.train.nodes.size()},
              {"validation", dataset.validation.nodes.size()},
              {"test", dataset.test.nodes.size()},
              {"fingerprint", content_fingerprint(dataset)}};
  if (flags.verify) {
    const Findings findings = verify_dataset(dataset, flags.threads);
    if (findings.empty()) {
      report["in_degree"] = to_json(in_degree_statistics(dataset, flags.threads));
    }
    note_findings(findings, report);
  }
  return report;
}

Json read_quality(const Path& file) {
  Json quality = parse_json<Json>(read_small_file(file, kMostJsonBytes));
  if (quality.is_discarded()) {
    throw UsageError(file.string() + " is not valid JSON", "partition again");
  }
  return quality;
}

/// In-degrees of all nodes, those of each part from its row bounds.
DegreeStatistics in_degrees(const Partition& partition) {
  DegreeStatistics degree;
  for (int part = 0; part < partition.info().num_parts; ++part) {
    const Shard shard = Shard::open(partition, part);
    degree = combine(degree, in_degree_statistics(shard.topology().indptr));
  }
  return degree;
}

Json describe_partition(const InspectFlags& flags) {
  const Partition partition = Partition::open(flags.path);
  const PartitionInfo& info = partition.info();
  Json sizes = Json::array();
  for (int part = 0; part < info.num_parts; ++part) sizes.push_back(info.range(part).size());
  Json report{{"kind", "partition"},
              {"path", flags.path},
              {"name", info.dataset_name},
              {"dataset_fingerprint", info.dataset_fingerprint},
              {"parts", info.num_parts},
              {"method", info.method},
              {"seed", info.seed},
              {"fanout", info.fanout},
              {"nodes", info.num_nodes},
              {"edges", info.num_edges},
              {"edge_weights", info.edge_weights ? "f4" : "none"},
              {"feature_width", info.feature_width},
              {"classes", info.num_classes},
              {"task", name_of(info.task)},
              {"train", info.num_train},
              {"validation", info.num_validation},
              {"test", info.num_test},
              {"nodes_per_part", sizes}};
  if (const Path file = Path(flags.path) / "quality.json"; std::filesystem::exists(file)) {
    report["quality"] = read_quality(file);
  }
  if (flags.verify) {
    const Findings findings = verify_partition(partition, flags.threads);
    if (findings.empty()) report["in_degree"] = to_json(in_degrees(partition));
    note_findings(findings, report);
  }
  return report;
}

/// Its checksums are verified whenever it is opened.
Json describe_checkpoint(const InspectFlags& flags) {
  const Checkpoint checkpoint = Checkpoint::open(flags.path);
  const CheckpointManifest& manifest = checkpoint.manifest();
  const SafetensorsFile model = checkpoint.tensors("model.safetensors");
  std::uint64_t elements = 0;
  for (const auto& [name, tensor] : model.tensors()) {
    elements += std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::uint64_t{1},
                                std::multiplies<>());
  }
  Json report{{"kind", "checkpoint"},
              {"path", flags.path},
              {"step", manifest.step},
              {"epoch", manifest.epoch},
              {"dataset_fingerprint", manifest.dataset_fingerprint},
              {"tensors", model.tensors().size()},
              {"parameters", elements},
              {"resumable", checkpoint.has("optimizer.safetensors")},
              {"verified", true}};
  if (flags.verify) note_findings(verify_checkpoint(checkpoint), report);
  return report;
}

/// One line a value, keys of inner objects joined by dots.
void print_lines(const Json& report, const std::string& prefix = "") {
  for (const auto& [key, entry] : report.items()) {
    if (entry.is_object()) {
      print_lines(entry, prefix + key + ".");
    } else {
      const std::string text = entry.is_string() ? entry.get<std::string>() : entry.dump();
      std::cout << fmt::format("{:<20} {}\n", prefix + key, text);
    }
  }
}

ExitCode inspect(const InspectFlags& flags) {
  std::error_code unreadable;
  const auto holds = [&](const char* name) {
    return std::filesystem::exists(Path(flags.path) / name, unreadable);
  };
  const auto describe = holds("metadata.yaml")    ? describe_dataset
                        : holds("partition.json") ? describe_partition
                        : holds("manifest.json")  ? describe_checkpoint
                                                  : nullptr;
  if (describe == nullptr) {
    throw UsageError(
        flags.path + " holds neither metadata.yaml nor partition.json nor manifest.json",
        "name a dataset, partition or checkpoint directory");
  }
  Json report = describe(flags);
  const Findings findings = report.value("findings", Findings{});
  if (!flags.json) report.erase("findings");  // one line each on stderr
  if (flags.json) {
    // A dataset's name may be any bytes; JSON is UTF-8.
    std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    print_lines(report);
  }
  std::cout << std::flush;
  for (const std::string& finding : findings) std::cerr << "gsplit: " << finding << std::endl;
  return findings.empty() ? ExitCode::kDone : ExitCode::kUsage;
}

}  // namespace

void add_inspect_command(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command =
      app.add_subcommand("inspect", "Say what a dataset, partition or checkpoint directory holds");
  command->add_option("path", flags->path, "Directory")->required();
  command->add_flag("--verify", flags->verify,
                    "Read and check all of it; one line for each fault, exit code 2");
  command->add_flag("--json", flags->json, "Print JSON");
  command->add_option("--threads", flags->threads, "Threads of --verify")
      ->check(CLI::Range(1, 4096));
  command->callback([flags, &action] { action = [flags] { return inspect(*flags); }; });
}

}  // namespace gsplit
