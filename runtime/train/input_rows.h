// Loads rows of input features, as training, evaluation and inference all read them: on the device
// where it has them, else by the host. Where the features of this host do not fit its memory, rows
// are asked for before they are read.
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
  /// `on_device`: all rows, or none. References must outlive it.
  InputRows(const TrainConfig& config, const Shard& shard, ConstMatrixView on_device,
            Context& context);

  std::int64_t width() const { return shard_.features().cols; }
  /// Features of own `nodes` (in host memory), in their order, normalised where asked for, into
  /// `rows` (nodes, width) on the device.
  void load(std::span<const LocalId> nodes, MatrixView rows);
  /// The same of nodes that the device has.
  void load_for_device(std::span<const LocalId> nodes, MatrixView rows);

 private:
  void find_smallest();
  bool on_device() const { return on_device_.rows > 0; }
  /// Calls gather(rows), which fills them on the device as they are stored; then normalises.
  template <class Gather>
  void fill(MatrixView rows, Gather gather);
  /// By the host, into `rows` on the device.
  void gather_by_host(std::span<const LocalId> nodes, MatrixView rows);
  /// Into `rows` in host memory.
  void gather(std::span<const LocalId> nodes, MatrixView rows);

  const Shard& shard_;
  ConstMatrixView on_device_;
  Context& context_;
  bool normalize_;
  double smallest_ = 0;
  std::optional<ReadAhead> read_ahead_;
};

}  // namespace gsplit
