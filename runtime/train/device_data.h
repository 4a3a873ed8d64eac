// Where a GPU reads a worker's shard: the graph, so that samples are drawn on the GPU, and the
// features, so that rows are gathered there. Either is in the GPU's memory, or in page-locked
// memory of the host, which the GPU reads over the bus (zero-copy), or out of its reach: then the
// host does that work. Of features in the host's memory the GPU's has copies of the hottest rows.
// On the CPU nothing is copied.
#pragma once

#include <optional>
#include <string>

#include "graph/shard.h"
#include "partition/read_counts.h"
#include "runtime/nn/context.h"
#include "runtime/train/column_parts.h"
#include "sampler/device_topology.h"

namespace gsplit {

enum class DataPlace : std::uint8_t {
  kAuto,    ///< the first of the others that has room
  kDevice,  ///< GPU memory
  kPinned,  ///< page-locked host memory
  kHost,    ///< where it is
};

/// "auto", "device", "pinned" or "host"; UsageError naming `flag` for anything else.
DataPlace data_place_from_name(const std::string& name, const std::string& flag);

struct DeviceDataOptions {
  double share = 0.5;  ///< of free memory, the GPU's and the host's, for what kAuto puts there
  DataPlace graph = DataPlace::kAuto;
  DataPlace features = DataPlace::kAuto;
  /// Share of the own rows that the GPU's memory has copies of where the features are page-locked;
  /// nothing: as many as there is room for.
  std::optional<double> cache;
  /// Those that are placed of the features; nothing: all.
  std::optional<ColumnRange> columns = {};
};

/// Feature rows in the reach of a device.
struct DeviceRows {
  ConstMatrixView all;  ///< (nodes, F), or no rows: the host gathers
  RowCache cache;       ///< of them; no slots: there is none

  bool empty() const { return all.rows == 0; }
};

class DeviceData {
 public:
  /// The graph is placed first. `topology` and `sampling`: what training samples from. `loads`: how
  /// hot rows are, of the whole graph, ids as in the dataset; null: nothing is cached.
  DeviceData(const DeviceDataOptions& options, const Shard& shard, const TopologyView& topology,
             const SamplerView& sampling, const ReadCounts* loads, Context& context);

  /// Whether such a device would cache rows, before anything is there: of the largest of the parts,
  /// so that workers with equal devices say the same.
  static bool would_cache(const DeviceDataOptions& options, const Shard& shard,
                          const PartitionInfo& partition, Memory& device);

  /// Null where the host samples.
  const DeviceTopology* topology() const { return topology_ ? &*topology_ : nullptr; }
  /// Whole rows; empty where only columns are placed.
  DeviceRows features() const;
  /// (nodes, columns) of DeviceDataOptions::columns, or no rows: the host gathers.
  ConstMatrixView columns() const;
  /// Of own nodes, both on the device. REQUIRES: topology() is there.
  Buffer<OriginalId> original_ids(std::span<const LocalId> nodes, Context& context) const;
  /// What crosses the bus for a row, or for its columns that are placed, that is not cached: as it
  /// is stored, or as `sent` by the host where that gathers; 0 where there is no bus between.
  std::size_t bus_bytes_of_row(DType sent) const;
  /// The same for a whole row.
  std::size_t bus_bytes_of_whole_row(DType sent) const;
  bool holds_features() const { return feature_place_ == DataPlace::kDevice; }
  /// For the log: "graph (120 MiB) in GPU memory, features (229 MiB) in page-locked host memory".
  std::string describe() const;

 private:
  /// Memory left for what kAuto places, and for the cache.
  struct Room {
    std::size_t device = 0;
    std::size_t pinned = 0;
  };
  static DataPlace choose(DataPlace asked, std::size_t bytes, Room& room);
  void place_features(const DeviceDataOptions& options, ConstMatrixView rows, Room& room,
                      Context& context);
  /// To the rows of features_ in the GPU's memory.
  void upload(ConstMatrixView rows, Context& context);
  /// `wanted`: share of the rows, or nothing: what `room` bytes hold.
  void fill_cache(std::optional<double> wanted, const Shard& shard, const ReadCounts& loads,
                  std::size_t room, Context& context);

  std::size_t topology_bytes_;
  std::size_t feature_bytes_;
  std::int64_t whole_width_;
  bool has_device_ = false;
  bool in_columns_ = false;
  DataPlace graph_place_ = DataPlace::kHost;
  DataPlace feature_place_ = DataPlace::kHost;
  std::optional<DeviceTopology> topology_;
  Matrix features_;  // (nodes, F), or columns of them; page-locked rows are padded
  std::int64_t width_ = 0;
  Matrix cached_;           // (slots, F), padded
  Buffer<RowIndex> slots_;  // (nodes); empty: no cache
};

}  // namespace gsplit
