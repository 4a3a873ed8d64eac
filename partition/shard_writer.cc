#include "partition/shard_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "graph/features.h"
#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// What every shard is cut from.
struct WholeGraph {
  const Dataset& dataset;
  CscView graph;
  const Renumbering& ids;
  int threads;
};

/// Of multi-class, (members): -1 where unlabelled.
std::vector<std::int32_t> classes_of(const WholeGraph& whole, int part, std::size_t members) {
  const Dataset& dataset = whole.dataset;
  std::vector<std::int32_t> labels(members, -1);
  for (const LabeledNodes* split : {&dataset.train, &dataset.validation, &dataset.test}) {
    for (std::size_t i = 0; i < split->nodes.size(); ++i) {
      const std::uint64_t node = split->nodes[i];
      if (whole.ids.part(node) == part) labels[value(whole.ids.local(node))] = split->labels[i];
    }
  }
  return labels;
}

/// Of multi-label, (members, num_classes): rows of 0 where unlabelled.
std::vector<std::uint8_t> label_rows_of(const WholeGraph& whole, int part, std::size_t members) {
  const Dataset& dataset = whole.dataset;
  const std::size_t columns = dataset.num_classes;
  std::vector<std::uint8_t> rows(members * columns, 0);
  for (const LabeledNodes* split : {&dataset.train, &dataset.validation, &dataset.test}) {
    for (std::size_t i = 0; i < split->nodes.size(); ++i) {
      const std::uint64_t node = split->nodes[i];
      if (whole.ids.part(node) != part) continue;
      std::copy_n(
          split->label_rows.begin() + static_cast<std::ptrdiff_t>(i * columns), columns,
          rows.begin() + static_cast<std::ptrdiff_t>(value(whole.ids.local(node)) * columns));
    }
  }
  return rows;
}

template <class Index>
void write_indices(const WholeGraph& whole, std::span<const OriginalId> members,
                   std::span<const std::int64_t> indptr, const std::filesystem::path& file) {
  NpyWriter writer(file, npy_type_of<Index>::value, {static_cast<std::uint64_t>(indptr.back())});
  const std::span<Index> indices = writer.as<Index>();
#pragma omp parallel for num_threads(whole.threads) schedule(dynamic, 1024)
  for (std::size_t i = 0; i < members.size(); ++i) {
    auto place = static_cast<std::size_t>(indptr[i]);
    const std::uint64_t node = value(members[i]);
    for (std::int64_t e = whole.graph.indptr[node]; e < whole.graph.indptr[node + 1]; ++e) {
      indices[place++] = static_cast<Index>(value(whole.ids.global(whole.graph.neighbor(e))));
    }
  }
  writer.close();
}

void write_edge_weights(const WholeGraph& whole, std::span<const OriginalId> members,
                        std::span<const std::int64_t> indptr, const std::filesystem::path& file) {
  NpyWriter writer(file, npy_type_of<float>::value, {static_cast<std::uint64_t>(indptr.back())});
  const std::span<float> weights = writer.as<float>();
#pragma omp parallel for num_threads(whole.threads) schedule(dynamic, 1024)
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto from = static_cast<std::size_t>(whole.graph.indptr[value(members[i])]);
    const auto place = static_cast<std::size_t>(indptr[i]);
    const std::size_t degree = static_cast<std::size_t>(indptr[i + 1]) - place;
    const auto row = whole.graph.weights.subspan(from, degree);
    std::copy(row.begin(), row.end(), weights.begin() + indptr[i]);
  }
  writer.close();
}

void write_topology(const WholeGraph& whole, std::span<const OriginalId> members,
                    const std::filesystem::path& directory) {
  std::vector<std::int64_t> indptr(members.size() + 1, 0);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::uint64_t node = value(members[i]);
    indptr[i + 1] = indptr[i] + whole.graph.indptr[node + 1] - whole.graph.indptr[node];
  }
  write_npy<std::int64_t>(directory / "indptr.npy", indptr, {indptr.size()});
  if (whole.dataset.num_nodes <= std::numeric_limits<std::uint32_t>::max()) {
    write_indices<std::uint32_t>(whole, members, indptr, directory / "indices.npy");
  } else {
    write_indices<std::uint64_t>(whole, members, indptr, directory / "indices.npy");
  }
  if (whole.dataset.edge_weights) {
    write_edge_weights(whole, members, indptr, directory / "edge_weights.npy");
  }
}

/// Copies the rows of `members` as they are stored, checking on the way that they are finite.
template <class T>
void write_features(const WholeGraph& whole, std::span<const OriginalId> members,
                    std::span<const T> from, const std::filesystem::path& file) {
  const std::uint64_t width = whole.dataset.feature_width();
  NpyWriter writer(file, npy_type_of<T>::value, {members.size(), width});
  T* const to = writer.as<T>().data();
  constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t first = kNone;
#pragma omp parallel for num_threads(whole.threads) schedule(static) reduction(min : first)
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::uint64_t begin = value(members[i]) * width;
    const std::span<const T> row = from.subspan(begin, width);
    std::copy(row.begin(), row.end(), to + i * width);
    const auto bad =
        std::find_if(row.begin(), row.end(), [](T value) { return !is_finite(value); });
    if (bad != row.end()) {
      first = std::min(first, begin + static_cast<std::uint64_t>(bad - row.begin()));
    }
  }
  if (first != kNone) refuse_not_finite(whole.dataset.features.path(), first, width);
  writer.close();
}

void write_split(const WholeGraph& whole, const LabeledNodes& split, int part,
                 const std::filesystem::path& file) {
  std::vector<std::uint32_t> nodes;
  for (const std::uint64_t node : split.nodes) {
    if (whole.ids.part(node) == part) nodes.push_back(value(whole.ids.local(node)));
  }
  std::sort(nodes.begin(), nodes.end());
  write_npy<std::uint32_t>(file, nodes, {nodes.size()});
}

void write_original_ids(std::span<const OriginalId> members, const std::filesystem::path& file) {
  std::vector<std::uint64_t> ids;
  for (const OriginalId id : members) ids.push_back(value(id));
  write_npy<std::uint64_t>(file, ids, {ids.size()});
}

void write_labels(const WholeGraph& whole, int part, std::size_t members,
                  const std::filesystem::path& file) {
  if (whole.dataset.task == Task::kMultiLabel) {
    write_npy<std::uint8_t>(file, label_rows_of(whole, part, members),
                            {members, whole.dataset.num_classes});
  } else {
    write_npy<std::int32_t>(file, classes_of(whole, part, members), {members});
  }
}

void write_shard(const WholeGraph& whole, int part, const std::filesystem::path& directory) {
  std::filesystem::create_directory(directory);
  const std::vector<OriginalId> members = whole.ids.members(part);
  write_topology(whole, members, directory);
  write_original_ids(members, directory / "original_ids.npy");
  write_labels(whole, part, members.size(), directory / "labels.npy");
  visit_features(whole.dataset.features, [&](auto rows) {
    write_features(whole, members, rows, directory / "features.npy");
  });
  write_split(whole, whole.dataset.train, part, directory / "train_nodes.npy");
  write_split(whole, whole.dataset.validation, part, directory / "validation_nodes.npy");
  write_split(whole, whole.dataset.test, part, directory / "test_nodes.npy");
}

void write_train_seeds(const Dataset& dataset, const Renumbering& ids,
                       const std::filesystem::path& file) {
  std::vector<std::uint64_t> seeds = dataset.train.nodes;
  std::sort(seeds.begin(), seeds.end());
  for (std::uint64_t& seed : seeds) seed = value(ids.global(seed));
  write_npy<std::uint64_t>(file, seeds, {seeds.size()});
}

void describe(const Dataset& dataset, const Renumbering& ids, PartitionInfo& info) {
  info.num_parts = static_cast<int>(ids.bounds().size()) - 1;
  info.dataset_name = dataset.name;
  info.num_nodes = dataset.num_nodes;
  info.num_edges = dataset.num_edges;
  info.num_classes = dataset.num_classes;
  info.task = dataset.task;
  info.feature_width = dataset.feature_width();
  info.edge_weights = dataset.edge_weights.has_value();
  info.num_train = dataset.train.nodes.size();
  info.num_validation = dataset.validation.nodes.size();
  info.num_test = dataset.test.nodes.size();
  info.bounds = ids.bounds();
}

}  // namespace

Renumbering::Renumbering(std::span<const PartId> assignment, int parts)
    : assignment_(assignment), bounds_(static_cast<std::size_t>(parts) + 1, 0) {
  const std::vector<std::uint64_t> sizes = part_sizes(assignment, parts);
  for (std::size_t part = 0; part < sizes.size(); ++part) {
    GSPLIT_CHECK(sizes[part] > 0);
    if (sizes[part] >= value(kNoLocal)) {
      throw UsageError(fmt::format("part {} has {} nodes, more than a 32-bit local id can name",
                                   part, sizes[part]),
                       "give more --parts");
    }
  }
  std::partial_sum(sizes.begin(), sizes.end(), bounds_.begin() + 1);
  std::vector<std::uint32_t> next(sizes.size(), 0);
  ranks_.resize(assignment.size());
  for (std::size_t v = 0; v < assignment.size(); ++v) ranks_[v] = LocalId{next[assignment[v]]++};
}

std::vector<OriginalId> Renumbering::members(int part) const {
  const auto p = static_cast<std::size_t>(part);
  std::vector<OriginalId> nodes;
  nodes.reserve(bounds_[p + 1] - bounds_[p]);
  for (std::size_t v = 0; v < assignment_.size(); ++v) {
    if (assignment_[v] == part) nodes.push_back(OriginalId{v});
  }
  return nodes;
}

void write_shards(const ShardSource& source, PartitionInfo info,
                  const std::filesystem::path& directory, int threads) {
  int parts = 0;
  for (const PartId part : source.assignment) parts = std::max(parts, part + 1);
  const Renumbering ids(source.assignment, parts);
  const WholeGraph whole{source.dataset, source.graph, ids, threads};
  for (int part = 0; part < parts; ++part) {
    write_shard(whole, part, shard_directory(directory, part));
  }
  write_train_seeds(source.dataset, ids, directory / "train_seeds.npy");
  describe(source.dataset, ids, info);
  write_partition_info(directory / "partition.json", info);
}

}  // namespace gsplit
