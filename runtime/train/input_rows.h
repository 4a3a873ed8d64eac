// Loads rows of input features, as training, evaluation and inference all read them. Where the
// features of this host do not fit its memory, rows are asked for before they are read.
#pragma once

#include <optional>
#include <span>

#include "graph/read_ahead.h"
#include "graph/shard.h"
#include "runtime/nn/context.h"
#include "runtime/train/config.h"
#include "runtime/train/row_reader.h"

namespace gsplit {

/// Reads rows of own nodes from the mapped shard.
class ShardRowReader final : public RowReader {
 public:
  ShardRowReader(const TrainConfig& config, const Shard& shard, Context& context);
  void read(std::span<const LocalId> nodes, MatrixView rows) override;

 private:
  const Shard& shard_;
  Context& context_;
  std::optional<ReadAhead> read_ahead_;
};

class InputRows {
 public:
  /// Collective with --normalize-features row: the smallest feature of all workers is looked for.
  /// References must outlive it.
  InputRows(const TrainConfig& config, const Shard& shard, Context& context);

  std::int64_t width() const { return shard_.features().cols; }
  RowReader& shard_rows() { return shard_rows_; }
  /// Features of `nodes` (in host memory), in their order, from `reader`, normalised where asked
  /// for, into `rows` (nodes, width) on the device.
  void load(std::span<const LocalId> nodes, RowReader& reader, MatrixView rows);
  /// The same of own nodes, from the shard.
  void load(std::span<const LocalId> nodes, MatrixView rows) { load(nodes, shard_rows_, rows); }

 private:
  void find_smallest();

  const Shard& shard_;
  Context& context_;
  ShardRowReader shard_rows_;
  bool normalize_;
  double smallest_ = 0;
};

}  // namespace gsplit
