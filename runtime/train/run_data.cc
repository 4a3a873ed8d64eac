#include "runtime/train/run_data.h"

#include <set>
#include <span>
#include <string_view>

#include "graph/sha256.h"
#include "graph/small_file.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

RunData facts_of(Dataset dataset) {
  RunData data{.name = dataset.name,
               .fingerprint = content_fingerprint(dataset),
               .num_classes = dataset.num_classes,
               .feature_width = dataset.feature_width(),
               .num_train = dataset.train.nodes.size(),
               .num_validation = dataset.validation.nodes.size()};
  if (dataset.edge_weights) data.edge_weights = dataset.edge_weights->path().string();
  data.dataset = std::move(dataset);
  return data;
}

RunData facts_of(const Partition& partition) {
  const PartitionInfo& info = partition.info();
  return {.dataset = {},
          .name = info.dataset_name,
          .fingerprint = info.dataset_fingerprint,
          .num_classes = info.num_classes,
          .feature_width = info.feature_width,
          .num_train = info.num_train,
          .num_validation = info.num_validation,
          .edge_weights = info.edge_weights ? partition.directory().string() : ""};
}

}  // namespace

std::string on_this_host(const std::string& path) {
  constexpr std::string_view kHost = "{host}";
  std::string filled = path;
  const std::string host = host_name();
  for (std::size_t at = filled.find(kHost); at != filled.npos;
       at = filled.find(kHost, at + host.size())) {
    filled.replace(at, kHost.size(), host);
  }
  return filled;
}

bool names_directory(const std::string& partition) {
  static const std::set<std::string> methods{"auto", "metis", "stream", "random", "range", "file"};
  return !methods.contains(partition) ||
         std::filesystem::exists(std::filesystem::path(partition) / "partition.json");
}

RunData open_run_data(const TrainConfig& config) {
  if (!config.dataset.empty()) {
    return facts_of(open_dataset(on_this_host(config.dataset.string())));
  }
  return facts_of(Partition::open(on_this_host(config.partition)));
}

void require_same_partition(const Partition& partition, Communicator& communicator) {
  const std::filesystem::path file = partition.directory() / "partition.json";
  Sha256 hash;
  hash.add(read_small_file(file, kMostJsonBytes));
  const Sha256Digest own = hash.digest();
  Sha256Digest first = own;
  communicator.broadcast(std::as_writable_bytes(std::span(first)), 0);
  if (own == first) return communicator.barrier();  // nobody goes on before all agree
  throw UsageError("rank " + std::to_string(communicator.rank()) + " on " + host_name() +
                       " has another partition of the data than rank 0: " + file.string(),
                   "give all hosts shards of one partition (deploy/shard-copy)");
}

void share_resumed_flags(TrainConfig& config, Communicator& communicator) {
  struct Head {
    std::uint64_t size;
    std::int64_t deadline_ms;  // which from_yaml() leaves alone
  };
  std::string flags = to_yaml(config);
  Head head{flags.size(), config.deadline.count()};
  communicator.broadcast(std::as_writable_bytes(std::span(&head, 1)), 0);
  flags.resize(head.size);
  communicator.broadcast(std::as_writable_bytes(std::span(flags)), 0);
  // Only now, since all take part: ranks may have been started with different flags.
  if (!config.resume || std::filesystem::exists(config.run_dir / "config.yaml")) return;
  const TrainConfig own = config;
  config = from_yaml(flags, "the flags of rank 0");
  if (!own.dataset.empty()) config.dataset = own.dataset;
  config.run_dir = own.run_dir;
  config.resume = own.resume;
  config.dry_run = own.dry_run;
  config.seeds = own.seeds;
  config.workers = own.workers;
  config.threads = own.threads;
  config.deadline = std::chrono::milliseconds(head.deadline_ms);
  config.dump_blocks = own.dump_blocks;
}

}  // namespace gsplit
