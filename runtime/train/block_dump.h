// --dump-blocks: the sampled blocks as canonical text, one line per (step, layer, destination) with
// the sorted sources, all in original ids and sorted: the same file for every number of workers,
// partition and mode: what several workers of data parallelism draw stands once. Layer 1 reads the
// input features.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "graph/shard.h"
#include "runtime/nn/context.h"
#include "sampler/block.h"

namespace gsplit {

class BlockDump {
 public:
  /// Rank 0 writes the file, beside `path` under a name that begins with a dot; the others only
  /// take part. Throws UsageError when it cannot be written.
  BlockDump(const std::filesystem::path& path, const Shard& shard, const Context& context);
  BlockDump(const BlockDump&) = delete;
  BlockDump& operator=(const BlockDump&) = delete;
  /// Removes what was not committed.
  ~BlockDump();
  /// Collective: appends the lines of one step.
  void write(std::uint64_t step, const MiniBatch& batch);
  /// Ends the file and gives it its name. Throws SystemError.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path draft_;  // empty on other ranks, and once committed
  const Shard& shard_;
  const Context& context_;
  std::ofstream file_;
};

}  // namespace gsplit
