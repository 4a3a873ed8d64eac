// What a run trains on: a dataset, or a partition directory alone. Hosts that were given nothing
// but their shards have no dataset, and each may keep them in another place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "graph/dataset.h"
#include "graph/shard.h"
#include "runtime/train/config.h"

namespace gsplit {

/// `path` with each {host} replaced by this host's name.
std::string on_this_host(const std::string& path);
/// Whether `--partition` names a directory rather than a method: on this host or, where it is
/// missing, on others.
bool names_directory(const std::string& partition);

/// Facts of the data that do not depend on how it is cut.
struct RunData {
  std::optional<Dataset> dataset;  ///< absent where --partition is all that was given
  std::string name;
  std::string fingerprint;
  std::uint64_t num_classes = 0;
  std::uint64_t feature_width = 0;
  std::uint64_t num_train = 0;
  std::uint64_t num_validation = 0;
  std::string edge_weights;  ///< where they are; empty: there are none
};

/// Throws UsageError for a dataset or partition.json that cannot be used.
RunData open_run_data(const TrainConfig& config);

/// Every rank must hold parts of the same partition: they are copied to hosts by hand. Collective;
/// throws UsageError at those that differ from rank 0.
void require_same_partition(const Partition& partition, Communicator& communicator);

/// Flags of a run that is resumed stand in its RUN_DIR, which other hosts than rank 0's need not
/// see: ranks without it take those of rank 0. Collective.
void share_resumed_flags(TrainConfig& config, Communicator& communicator);

}  // namespace gsplit
