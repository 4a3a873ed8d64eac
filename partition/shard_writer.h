// Writes the shards of a partitioned dataset, in the layout that graph/shard.h reads:
//
//   partition.json            PartitionInfo
//   train_seeds.npy     u8    (num_train) GlobalIds, in ascending OriginalId
//   part-N/
//     indptr.npy        i8    (nodes + 1)
//     indices.npy       u4|u8 (edges) GlobalIds of the in-neighbours, u8 from 2^32 nodes on; within
//                             a row in ascending OriginalId
//     edge_weights.npy  f4    (edges) beside the indices; absent where the graph has no weights
//     original_ids.npy  u8    (nodes) ascending
//     features.npy      f2|f4 (nodes, F) as in the dataset
//     labels.npy        i4    (nodes) -1 where unlabelled
//                       u1    of a multi-label task: (nodes, C) 0 or 1, rows of 0 where unlabelled
//     train_nodes.npy, validation_nodes.npy, test_nodes.npy  u4  LocalIds, ascending
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "graph/csc.h"
#include "graph/dataset.h"
#include "graph/shard.h"
#include "partition/assignment.h"

namespace gsplit {

/// The ids after partitioning: parts one after the other, within a part in ascending OriginalId.
class Renumbering {
 public:
  /// Borrows `assignment`. REQUIRES: no part is empty. Throws UsageError where a part has more
  /// nodes than a LocalId can name.
  Renumbering(std::span<const PartId> assignment, int parts);
  const std::vector<std::uint64_t>& bounds() const { return bounds_; }  ///< (parts + 1)
  PartId part(std::uint64_t node) const { return assignment_[node]; }
  LocalId local(std::uint64_t node) const { return ranks_[node]; }
  GlobalId global(std::uint64_t node) const {
    return GlobalId{bounds_[assignment_[node]] + value(ranks_[node])};
  }
  /// The nodes of a part, ascending.
  std::vector<OriginalId> members(int part) const;

 private:
  std::span<const PartId> assignment_;
  std::vector<std::uint64_t> bounds_;
  std::vector<LocalId> ranks_;  // position within the part
};

struct ShardSource {
  const Dataset& dataset;
  CscView graph;
  std::span<const PartId> assignment;
};

/// Writes all files above into the existing, empty `directory`. `info` carries method, seed, fanout
/// and the fingerprint; the rest is filled in here. Throws UsageError as validate_arrays where a
/// feature is not finite.
void write_shards(const ShardSource& source, PartitionInfo info,
                  const std::filesystem::path& directory, int threads);

}  // namespace gsplit
