#include "partition/read_counts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "graph/csc.h"
#include "graph/small_file.h"
#include "partition/cache.h"
#include "partition/cache_key.h"
#include "partition/prepare.h"

namespace gsplit {
namespace {

constexpr const char* kFile = "reads.npy";

/// Names after partitioning, by OriginalId.
struct Names {
  std::vector<std::uint64_t> global;
  std::vector<std::uint16_t> part;
};

Names names_in(const Partition& partition) {
  const PartitionInfo& info = partition.info();
  Names names{std::vector<std::uint64_t>(info.num_nodes),
              std::vector<std::uint16_t>(info.num_nodes)};
  for (int part = 0; part < info.num_parts; ++part) {
    const Shard shard = Shard::open(partition, part);
    std::uint64_t global = shard.range().begin;
    for (const OriginalId id : shard.original_ids()) {
      names.global[value(id)] = global++;
      names.part[value(id)] = static_cast<std::uint16_t>(part);
    }
  }
  return names;
}

Names names_in(std::uint64_t whole_graph) {
  Names names{std::vector<std::uint64_t>(whole_graph), std::vector<std::uint16_t>(whole_graph)};
  std::iota(names.global.begin(), names.global.end(), std::uint64_t{0});
  return names;
}

/// Counts the reads of one part; a node counts once a batch, however many destinations draw it.
class PartCounter {
 public:
  PartCounter(const CscView& graph, const Names& names, int part, std::span<std::uint16_t> counts)
      : graph_(graph), names_(names), part_(part), counts_(counts), last_(counts.size(), 0) {}

  /// `batch`: from 1.
  void add(const PresampledLayer& sample, std::uint16_t batch) {
    for (std::size_t i = 0; i < sample.destinations.size(); ++i) {
      const std::uint64_t destination = sample.destinations[i];
      if (names_.part[destination] != part_) continue;
      count(destination, batch);
      for (std::uint64_t e = sample.offsets[i]; e < sample.offsets[i + 1]; ++e) {
        count(graph_.neighbor(sample.edges[e]), batch);
      }
    }
  }

 private:
  void count(std::uint64_t node, std::uint16_t batch) {
    const std::uint64_t global = names_.global[node];
    if (std::exchange(last_[global], batch) != batch) ++counts_[global];
  }

  const CscView& graph_;
  const Names& names_;
  int part_;
  std::span<std::uint16_t> counts_;
  std::vector<std::uint16_t> last_;  // batch that has counted the node
};

void write_counts(const CscView& graph, const Dataset& dataset, const Names& names,
                  std::size_t parts, const PresampleOptions& options,
                  const std::filesystem::path& file, const Log& log) {
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t nodes = graph.num_nodes();
  NpyWriter writer(file, npy_type_of<std::uint16_t>::value, {parts, nodes});
  const std::span<std::uint16_t> counts = writer.as<std::uint16_t>();
  std::vector<PartCounter> counters;
  for (std::size_t p = 0; p < parts; ++p) {
    counters.emplace_back(graph, names, static_cast<int>(p), counts.subspan(p * nodes, nodes));
  }
  const PresampledBatches batches(graph, dataset.train.nodes, options);
  std::size_t layers_to_input = options.fanout.size();
  std::uint16_t batch = 1;
  batches.replay({.layer =
                      [&](const PresampledLayer& sample) {
                        if (--layers_to_input > 0) return;
#pragma omp parallel for num_threads(options.threads) schedule(dynamic, 1)
                        for (std::size_t p = 0; p < parts; ++p) counters[p].add(sample, batch);
                        layers_to_input = options.fanout.size();
                        ++batch;
                      },
                  .inputs = {}});
  writer.close();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  log.info(fmt::format("counted the reads of feature rows in {} presampled batches in {:.1f} s",
                       batches.size(), seconds.count()));
}

std::string key_of(const Dataset& dataset, const std::string& fingerprint,
                   const PresampleOptions& options) {
  return dataset_key(dataset, fingerprint) +
         fmt::format("reads, fanout {}, sampler {}, {} batches of {}, seed {}\n",
                     fmt::join(options.fanout, ","), name_of(options.sampler), options.max_batches,
                     options.batch_size, options.seed);
}

std::string key_of(const Dataset& dataset, const Partition& partition,
                   const PresampleOptions& options) {
  const PartitionInfo& info = partition.info();
  std::string key = key_of(dataset, info.dataset_fingerprint, options);
  if (info.num_parts == 1) return key;  // ids are those of the dataset
  key += read_small_file(partition.directory() / "partition.json", kMostJsonBytes);
  for (int part = 0; part < info.num_parts; ++part) {
    key += file_stamp(shard_directory(partition.directory(), part) / "original_ids.npy") + "\n";
  }
  return key;
}

}  // namespace

ReadCounts ReadCounts::open(const std::filesystem::path& directory,
                            const PartitionInfo& partition) {
  ReadCounts counts;
  counts.reads_ = NpyArray::open(directory / kFile);
  counts.reads_.as<std::uint16_t>();
  const std::vector<std::uint64_t> expected{static_cast<std::uint64_t>(partition.num_parts),
                                            partition.num_nodes};
  if (counts.reads_.shape() != expected) {
    throw UsageError((directory / kFile).string() + " is of another partition", "remove it");
  }
  return counts;
}

std::span<const std::uint16_t> ReadCounts::of(int part) const {
  const std::uint64_t nodes = reads_.shape()[1];
  return reads_.as<std::uint16_t>().subspan(static_cast<std::size_t>(part) * nodes, nodes);
}

ReadCounts prepare_read_counts(const Dataset& dataset, const Partition& partition,
                               const PresampleOptions& options, const Log& log) {
  const CacheEntry<ReadCounts> entry{
      .open =
          [&](const std::filesystem::path& path) {
            return ReadCounts::open(path, partition.info());
          },
      .build =
          [&](const std::filesystem::path& path) {
            const Csc csc = prepare_csc(dataset, options.threads, log);
            write_counts(csc.view(), dataset, names_in(partition),
                         static_cast<std::size_t>(partition.info().num_parts), options,
                         path / kFile, log);
          }};
  return open_cached(cache_path("reads", key_of(dataset, partition, options)), entry, log);
}

ReadCounts prepare_load_counts(const Dataset& dataset, const PartitionInfo& partition,
                               const PresampleOptions& options, const Log& log) {
  PartitionInfo whole = partition;
  whole.num_parts = 1;
  const CacheEntry<ReadCounts> entry{
      .open = [&](const std::filesystem::path& path) { return ReadCounts::open(path, whole); },
      .build =
          [&](const std::filesystem::path& path) {
            const Csc csc = prepare_csc(dataset, options.threads, log);
            write_counts(csc.view(), dataset, names_in(whole.num_nodes), 1, options, path / kFile,
                         log);
          }};
  const std::string key = key_of(dataset, whole.dataset_fingerprint, options);
  return open_cached(cache_path("reads", key), entry, log);
}

}  // namespace gsplit
