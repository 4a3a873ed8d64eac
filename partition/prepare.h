// From a dataset to shards: the one entry that `gsplit partition` and `gsplit train` use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "graph/csc.h"
#include "graph/dataset.h"
#include "graph/shard.h"
#include "kernels/base/log.h"
#include "kernels/base/sampler.h"
#include "partition/assignment.h"
#include "partition/presample.h"

namespace gsplit {

enum class PartitionMethod : std::uint8_t { kAuto, kMetis, kStream, kRandom, kRange, kFile };

/// "auto", "metis", ...; UsageError for an unknown name. kAuto becomes kMetis where METIS fits
/// (metis_memory.h), else kStream, when a partition is made.
PartitionMethod partition_method_from_name(const std::string& name);
std::string name_of(PartitionMethod method);

struct PrepareOptions {
  int parts = 1;
  PartitionMethod method = PartitionMethod::kAuto;
  std::filesystem::path
      assignment;  ///< kFile: .npy of integers (num_nodes), part of each OriginalId
  std::vector<std::int32_t> fanout{15, 10, 5};
  Sampler sampler = Sampler::kUniform;  ///< of the presample
  std::uint32_t batch_size = 1024;      ///< of the presample
  std::uint64_t seed = 0;
  int threads = 1;
  /// Bytes that METIS may take; nothing: available_memory().
  std::optional<std::uint64_t> memory;
};

/// The cache folder: $GSPLIT_CACHE, else $XDG_CACHE_HOME/gsplit, else ~/.cache/gsplit. Created if
/// missing.
std::filesystem::path cache_directory();

/// The dataset's graph by destination, from the cache, made first where it is missing.
Csc prepare_csc(const Dataset& dataset, int threads, const Log& log);

/// Part of each node by the method that the options name; of kAuto, by what it decides. Says on the
/// log what that is. `counts`: of the presample. Throws UsageError as write_partition.
Assignment assign_nodes(const CscView& graph, const PresampleCounts& counts,
                        const PrepareOptions& options, const Log& log);

/// UsageError of the weighted sampler where there are none.
void require_edge_weights(bool there);
/// UsageError where the dataset lacks what the sampler needs.
void check_sampler(Sampler sampler, const Dataset& dataset);

/// Writes a partition directory (partition.json, train_seeds.npy, quality.json, part-*/) to `out`,
/// which must not exist: made under a name that begins with a dot, then renamed. The dataset is
/// validated as far as it is read. One part needs no partitioner and no presample. Throws
/// UsageError for bad data or options, and for kMetis where METIS does not fit.
void write_partition(const Dataset& dataset, const PrepareOptions& options,
                     const std::filesystem::path& out, const Log& log);

/// The partition for these options from the cache, made first where it is missing: by one process
/// under a lock, while others wait. The key covers the dataset (content, sizes, times; not the
/// path), all options that matter and the format version. An entry found damaged is made again with
/// a warning. kAuto decides once: the entry stays, so that all processes take the same.
Partition prepare_partition(const Dataset& dataset, const PrepareOptions& options, const Log& log);

}  // namespace gsplit
