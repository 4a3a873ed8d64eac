// Loads rows of input features, as training, evaluation and inference all read them: on the device
// where it has them, else by the host. Where the features of this host do not fit its memory, rows
// are asked for before they are read.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "graph/read_ahead.h"
#include "graph/shard.h"
#include "runtime/nn/context.h"
#include "runtime/train/config.h"
#include "runtime/train/device_data.h"
#include "runtime/train/row_reader.h"

namespace gsplit {

/// Reads rows of own nodes from the mapped shard.
class ShardRowReader final : public RowReader {
 public:
  ShardRowReader(const Shard& shard, Context& context) : shard_(shard), context_(context) {}
  /// From now on rows are asked for before they are read, if `flag` (--read-ahead) says so.
  void read_ahead(const std::string& flag);
  void read(std::span<const LocalId> nodes, MatrixView rows) override;
  /// Columns [first, first + those of `columns`) alone.
  void read_columns(std::span<const LocalId> nodes, std::int64_t first, MatrixView columns);

 private:
  const Shard& shard_;
  Context& context_;
  std::optional<ReadAhead> read_ahead_;
};

/// What a device's cache has of the rows that are loaded, as in GatherCachedRowsArgs; on the
/// device.
struct CacheUse {
  std::span<std::uint64_t> hits = {};
  std::span<const void*> places = {};
  std::int64_t first_placed = 0;
};

class InputRows {
 public:
  /// Collective with --normalize-features row: the smallest feature of all workers is looked for,
  /// unless `known` has found it. References, and what `on_device` refers to, must outlive it.
  InputRows(const TrainConfig& config, const Shard& shard, const DeviceRows& on_device,
            Context& context, const InputRows* known = nullptr);

  std::int64_t width() const { return shard_.features().cols; }
  RowReader& shard_rows() { return shard_rows_; }
  /// Features of `nodes` (in host memory), in their order, from `reader`, normalised where asked
  /// for, into `rows` (nodes, width) on the device.
  void load(std::span<const LocalId> nodes, RowReader& reader, MatrixView rows);
  /// The same of own nodes.
  void load(std::span<const LocalId> nodes, MatrixView rows, const CacheUse& use = {});
  /// The same of own nodes that the device has.
  void load_for_device(std::span<const LocalId> nodes, MatrixView rows, const CacheUse& use = {});
  /// Columns [first, first + columns of `rows`) of the same, as they are stored, by the host.
  void load_columns(std::span<const LocalId> nodes, std::int64_t first, MatrixView rows);
  bool normalizes() const { return normalize_; }
  /// Whether load() of own nodes reads some of them from the device's cache.
  bool has_cache() const { return !on_device_.cache.slots.empty(); }
  /// Whether these may be read in the cache as rows of `dtype`, which are not changed on their way.
  bool has_places(DType dtype) const {
    return has_cache() && !normalize_ && on_device_.all.dtype == dtype;
  }

 private:
  void find_smallest();
  bool on_device() const { return !on_device_.empty(); }
  /// Calls gather(rows), which fills them on the device as they are stored; then normalises.
  template <class Gather>
  void fill(MatrixView rows, Gather gather);
  /// Into `rows` on the device: read(to) fills rows in reach of the host.
  template <class Read>
  void gather_by_host(MatrixView rows, Read read);

  const Shard& shard_;
  DeviceRows on_device_;
  Context& context_;
  ShardRowReader shard_rows_;
  bool normalize_;
  double smallest_;
};

}  // namespace gsplit
