#include "graph/verify.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "graph/features.h"

namespace gsplit {
namespace {

using Path = std::filesystem::path;

constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

/// Smallest i below `count` with bad(i). `bad` must not throw.
template <class Predicate>
std::optional<std::uint64_t> first_index(std::uint64_t count, int threads, Predicate bad) {
  std::uint64_t first = kNone;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(min : first)
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i < first && bad(i)) first = i;
  }
  return first == kNone ? std::nullopt : std::optional(first);
}

void add(Findings& findings, const Path& file, const std::string& fault) {
  findings.push_back(file.string() + " " + fault);
}

void verify_finite(ConstMatrixView features, const Path& file, int threads, Findings& findings) {
  std::uint64_t count = 0;
  std::uint64_t first = kNone;
  dispatch_storage(features.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, double>) {
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : count) \
    reduction(min : first)
      for (std::int64_t i = 0; i < features.rows; ++i) {
        const std::span row(features.row<T>(i), static_cast<std::size_t>(features.cols));
        const auto bad = std::count_if(row.begin(), row.end(), [](T x) { return !is_finite(x); });
        count += static_cast<std::uint64_t>(bad);
        if (bad > 0) first = std::min(first, static_cast<std::uint64_t>(i));
      }
    }
  });
  if (count == 0) return;
  add(findings, file,
      fmt::format("holds {} values that are NaN or infinite, the first in row {}", count, first));
}

/// Marks `nodes` in `seen`; a finding where one is marked already. Ids are below seen.size().
template <class Id>
void mark(std::span<const Id> nodes, const Path& file, const std::string& what,
          std::vector<bool>& seen, Findings& findings) {
  std::optional<std::string> fault;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto node = static_cast<std::uint64_t>(nodes[i]);
    if (seen[node] && !fault) {
      fault = fmt::format("holds node {} at position {}, {}", node, i, what);
    }
    seen[node] = true;
  }
  if (fault) add(findings, file, *fault);
}

class PartitionVerifier {
 public:
  PartitionVerifier(const Partition& partition, int threads)
      : partition_(partition), info_(partition.info()), threads_(threads) {}

  Findings run() {
    verify_fingerprint();
    if (!open_shards()) return std::move(findings_);
    if (!verify_original_ids()) return std::move(findings_);  // what follows looks ids up
    for (const Shard& shard : shards_) verify_shard(shard);
    verify_counts();
    verify_train_seeds();
    return std::move(findings_);
  }

 private:
  Path file(const Shard& shard, const char* name) const {
    return shard_directory(partition_.directory(), shard.part()) / name;
  }
  Path shared(const char* name) const { return partition_.directory() / name; }

  void verify_fingerprint() {
    const std::string& hex = info_.dataset_fingerprint;
    const bool valid = hex.size() == 64 && hex.find_first_not_of("0123456789abcdef") == hex.npos;
    if (!valid) add(findings_, shared("partition.json"), "has no fingerprint of a dataset");
  }

  bool open_shards() {
    for (int part = 0; part < info_.num_parts; ++part) {
      try {
        shards_.push_back(Shard::open(partition_, part));
      } catch (const Error& error) {
        findings_.emplace_back(error.what());
      }
    }
    return findings_.empty();
  }

  /// A permutation over all parts: each ascends strictly, none holds a node of another, and there
  /// are as many as nodes.
  bool verify_original_ids() {
    std::vector<bool> seen(info_.num_nodes);
    for (const Shard& shard : shards_) {
      mark(shard.original_ids(), file(shard, "original_ids.npy"), "which stands before", seen,
           findings_);
    }
    return findings_.empty();
  }

  /// Shard::open has seen that ids and labels are in range.
  void verify_shard(const Shard& shard) {
    verify_edges(shard);
    verify_weights(shard);
    verify_splits(shard);
    const Path path = file(shard, "features.npy");
    verify_finite(shard.features(), path, threads_, findings_);
    if (shard.features().dtype != shards_.front().features().dtype) {
      add(findings_, path,
          fmt::format("holds {}, other parts {}", name_of(shard.features().dtype),
                      name_of(shards_.front().features().dtype)));
    }
  }

  void verify_edges(const Shard& shard) {
    const TopologyView topology = shard.topology();
    const Path path = file(shard, "indices.npy");
    const auto source = [&](std::uint64_t e) {
      return value(topology.neighbor(static_cast<std::int64_t>(e)));
    };
    const auto unsorted = first_index(shard.num_nodes(), threads_, [&](std::uint64_t row) {
      std::uint64_t last = 0;
      for (std::int64_t e = topology.indptr[row]; e < topology.indptr[row + 1]; ++e) {
        const std::uint64_t id = original_id(source(static_cast<std::uint64_t>(e)));
        if (id < last) return true;
        last = id;
      }
      return false;
    });
    if (unsorted) {
      add(findings_, path, fmt::format("does not ascend by original id in row {}", *unsorted));
    }
  }

  std::uint64_t original_id(std::uint64_t node) const {
    const auto after = std::upper_bound(info_.bounds.begin(), info_.bounds.end(), node);
    const auto part = static_cast<std::size_t>(after - info_.bounds.begin()) - 1;
    return value(shards_[part].original_ids()[node - info_.bounds[part]]);
  }

  void verify_weights(const Shard& shard) {
    const std::span<const float> weights = shard.topology().edge_weights;
    const auto bad = first_index(weights.size(), threads_, [&](std::uint64_t e) {
      return !(weights[e] >= 0) || std::isinf(weights[e]);
    });
    if (!bad) return;
    add(findings_, file(shard, "edge_weights.npy"),
        fmt::format("holds weight {} at edge {}", weights[*bad], *bad));
  }

  void verify_splits(const Shard& shard) {
    std::vector<bool> seen(shard.num_nodes());
    const std::pair<const char*, std::span<const LocalId>> splits[] = {
        {"train_nodes.npy", shard.train_nodes()},
        {"validation_nodes.npy", shard.validation_nodes()},
        {"test_nodes.npy", shard.test_nodes()}};
    for (const auto& [name, nodes] : splits) {
      mark(nodes, file(shard, name), "which stands in another split", seen, findings_);
      if (shard.task() != Task::kMultiClass) continue;
      const auto unlabelled = std::find_if(nodes.begin(), nodes.end(), [&](LocalId node) {
        return shard.labels()[value(node)] < 0;
      });
      if (unlabelled == nodes.end()) continue;
      add(findings_, file(shard, name),
          fmt::format("holds node {}, which has no label", value(*unlabelled)));
    }
  }

  void verify_counts() {
    std::uint64_t edges = 0, train = 0, validation = 0, test = 0;
    for (const Shard& shard : shards_) {
      edges += static_cast<std::uint64_t>(shard.topology().indptr.back());
      train += shard.train_nodes().size();
      validation += shard.validation_nodes().size();
      test += shard.test_nodes().size();
    }
    const std::pair<const char*, std::pair<std::uint64_t, std::uint64_t>> counts[] = {
        {"edges", {info_.num_edges, edges}},
        {"training nodes", {info_.num_train, train}},
        {"validation nodes", {info_.num_validation, validation}},
        {"test nodes", {info_.num_test, test}}};
    for (const auto& [what, count] : counts) {
      if (count.first == count.second) continue;
      add(findings_, shared("partition.json"),
          fmt::format("says {} {}, its parts hold {}", count.first, what, count.second));
    }
  }

  /// All training nodes of all parts, and no others, in ascending OriginalId. The ids are in range.
  void verify_train_seeds() {
    const std::span<const GlobalId> seeds = partition_.train_seeds();
    const Path path = shared("train_seeds.npy");
    std::vector<bool> training(info_.num_nodes);
    for (const Shard& shard : shards_) {
      for (const LocalId node : shard.train_nodes()) {
        training[shard.range().begin + value(node)] = true;
      }
    }
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      const std::uint64_t node = value(seeds[i]);
      if (!training[node]) {
        return add(findings_, path,
                   fmt::format("holds node {} at position {}, which is no training node", node, i));
      }
      if (i > 0 && original_id(value(seeds[i - 1])) >= original_id(node)) {
        return add(findings_, path,
                   fmt::format("does not ascend by original id at position {}", i));
      }
    }
  }

  const Partition& partition_;
  const PartitionInfo& info_;
  int threads_;
  std::vector<Shard> shards_;
  Findings findings_;
};

}  // namespace

Findings verify_dataset(const Dataset& dataset, int threads) {
  Findings findings;
  try {
    validate_edges(dataset, threads);
  } catch (const UsageError& error) {
    findings.emplace_back(error.what());
  }
  const NpyArray& features = dataset.features;
  const auto width = static_cast<std::int64_t>(dataset.feature_width());
  verify_finite({features.bytes().data(), *feature_dtype(features.type()),
                 static_cast<std::int64_t>(dataset.num_nodes), width, width},
                features.path(), threads, findings);
  std::vector<bool> seen(dataset.num_nodes);
  const std::pair<const char*, const LabeledNodes*> splits[] = {
      {"train_set", &dataset.train},
      {"validation_set", &dataset.validation},
      {"test_set", &dataset.test}};
  for (const auto& [name, split] : splits) {
    mark(std::span<const std::uint64_t>(split->nodes), dataset.directory / "metadata.yaml",
         fmt::format("in {}, which stands in another split", name), seen, findings);
  }
  return findings;
}

Findings verify_partition(const Partition& partition, int threads) {
  return PartitionVerifier(partition, threads).run();
}

}  // namespace gsplit
