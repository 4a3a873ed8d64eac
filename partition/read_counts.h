// How often the input layer of each worker reads the feature row of each node, counted in
// presampled batches: which rows are worth keeping at hand. Counts are kept in the cache folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "graph/dataset.h"
#include "graph/npy.h"
#include "graph/shard.h"
#include "kernels/base/log.h"
#include "partition/presample.h"

namespace gsplit {

/// Mapped, (parts, nodes).
class ReadCounts {
 public:
  /// Throws UsageError where reads.npy is missing, damaged or of another shape.
  static ReadCounts open(const std::filesystem::path& directory, const PartitionInfo& partition);

  /// (nodes) by GlobalId: batches in which a destination that `part` owns is the node, or has drawn
  /// it, in the input layer. Of a single part these are the batches that need the node's input row.
  std::span<const std::uint16_t> of(int part) const;

 private:
  NpyArray reads_;
};

/// Such counts of the graph as it is, uncut, with the ids of the dataset: as of a single part. What
/// the owner of a node loads, whoever needs its row.
ReadCounts prepare_load_counts(const Dataset& dataset, const PartitionInfo& partition,
                               const PresampleOptions& options, const Log& log);

/// The counts for this partition and presample, from the cache, made first where they are missing:
/// by one process while others wait. All shards must be on this host. REQUIRES: the partition was
/// made from the dataset; check_fanout and check_sampler pass.
ReadCounts prepare_read_counts(const Dataset& dataset, const Partition& partition,
                               const PresampleOptions& options, const Log& log);

}  // namespace gsplit
