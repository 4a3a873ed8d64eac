// What one worker holds: the in-edges, features, labels and seeds of one part, and the description
// of the whole partition that all workers share. docs/formats.md gives the files;
// partition/shard_writer.h writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/npy.h"
#include "graph/task.h"
#include "kernels/base/ids.h"
#include "kernels/matrix.h"
#include "kernels/sampling.h"

namespace gsplit {

/// Contents of partition.json.
struct PartitionInfo {
  int format_version = 2;
  int num_parts = 1;
  std::string method;  ///< metis, stream, random, range, file, or "none" for one part
  std::string dataset_name;
  std::string dataset_fingerprint;  ///< content_fingerprint of the dataset it was made from
  std::uint64_t seed = 0;
  std::vector<std::int32_t> fanout;  ///< of the presample; nearest the seeds first
  std::uint64_t num_nodes = 0;
  std::uint64_t num_edges = 0;
  std::uint64_t num_classes = 0;
  Task task = Task::kMultiClass;
  std::uint64_t feature_width = 0;
  bool edge_weights = false;  ///< whether every part has edge_weights.npy
  std::uint64_t num_train = 0;
  std::uint64_t num_validation = 0;
  std::uint64_t num_test = 0;
  std::vector<std::uint64_t>
      bounds;  ///< (num_parts + 1): part p owns GlobalIds [bounds[p], bounds[p + 1])

  GlobalRange range(int part) const {
    return {bounds[static_cast<std::size_t>(part)], bounds[static_cast<std::size_t>(part) + 1]};
  }
};

/// The shared half of a partition directory: partition.json and train_seeds.npy.
class Partition {
 public:
  /// Throws UsageError where a file is missing, damaged or of another format version.
  static Partition open(const std::filesystem::path& directory);
  const std::filesystem::path& directory() const { return directory_; }
  const PartitionInfo& info() const { return info_; }
  /// (num_train) training nodes in ascending OriginalId: the order that an epoch's permutation
  /// permutes, hence independent of the partition.
  std::span<const GlobalId> train_seeds() const;

 private:
  std::filesystem::path directory_;
  PartitionInfo info_;
  NpyArray train_seeds_;
};

/// One part, mapped. Immutable; spans live as long as the Shard.
class Shard {
 public:
  static Shard open(const Partition& partition, int part);

  int part() const { return part_; }
  GlobalRange range() const { return range_; }
  std::size_t num_nodes() const { return static_cast<std::size_t>(range_.size()); }
  TopologyView topology() const;
  std::span<const OriginalId> original_ids() const;  ///< (num_nodes), ascending
  ConstMatrixView features() const;                  ///< (num_nodes, F), fp32, fp16 or bf16
  Task task() const { return task_; }
  std::size_t num_classes() const { return num_classes_; }
  /// (num_nodes), -1 where unlabelled. REQUIRES: multi-class.
  std::span<const std::int32_t> labels() const;
  /// (num_nodes, num_classes), row by row, each 0 or 1; 0 where unlabelled. REQUIRES: multi-label.
  std::span<const std::uint8_t> label_matrix() const;
  std::span<const LocalId> train_nodes() const;  ///< ascending
  std::span<const LocalId> validation_nodes() const;
  std::span<const LocalId> test_nodes() const;

 private:
  int part_ = 0;
  GlobalRange range_;
  Task task_ = Task::kMultiClass;
  std::size_t num_classes_ = 0;
  NpyArray indptr_, indices_, original_ids_, features_, labels_, train_, validation_, test_;
  std::optional<NpyArray> edge_weights_;
};

/// Where part `part` lies inside a partition directory.
std::filesystem::path shard_directory(const std::filesystem::path& partition, int part);

/// Reads and writes partition.json.
PartitionInfo read_partition_info(const std::filesystem::path& file);
void write_partition_info(const std::filesystem::path& file, const PartitionInfo& info);

}  // namespace gsplit
