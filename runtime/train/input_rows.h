// Loads rows of input features, as training, evaluation and inference all read them. Where the
// features of this host do not fit its memory, rows are asked for before they are read.
#pragma once

#include <optional>
#include <span>

#include "graph/read_ahead.h"
#include "graph/shard.h"
#include "runtime/nn/context.h"
#include "runtime/train/config.h"

namespace gsplit {

class InputRows {
 public:
  /// Collective with --normalize-features row: the smallest feature of all workers is looked for.
  /// References must outlive it.
  InputRows(const TrainConfig& config, const Shard& shard, Context& context);

  std::int64_t width() const { return shard_.features().cols; }
  /// Features of own `nodes` (in host memory), in their order, normalised where asked for, into
  /// `rows` (nodes, width) on the device.
  void load(std::span<const LocalId> nodes, MatrixView rows);
  /// Columns [first, first + columns of `rows`) of the same, in reach of the host, not normalised.
  void load_columns(std::span<const LocalId> nodes, std::int64_t first, MatrixView rows);
  bool normalizes() const { return normalize_; }

 private:
  void find_smallest();
  /// Into `rows` in host memory.
  void gather(std::span<const LocalId> nodes, MatrixView rows);

  const Shard& shard_;
  Context& context_;
  bool normalize_;
  double smallest_ = 0;
  std::optional<ReadAhead> read_ahead_;
};

}  // namespace gsplit
