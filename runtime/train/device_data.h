// Where a GPU reads a worker's shard: the graph, so that samples are drawn on the GPU, and the
// features, so that rows are gathered there. Either is in the GPU's memory, or in page-locked
// memory of the host, which the GPU reads over the bus (zero-copy), or out of its reach: then the
// host does that work. On the CPU nothing is copied.
#pragma once

#include <optional>
#include <string>

#include "graph/shard.h"
#include "runtime/nn/context.h"
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
};

class DeviceData {
 public:
  /// The graph is placed first. `topology` and `sampling`: what training samples from.
  DeviceData(const DeviceDataOptions& options, const Shard& shard, const TopologyView& topology,
             const SamplerView& sampling, Context& context);

  /// Null where the host samples.
  const DeviceTopology* topology() const { return topology_ ? &*topology_ : nullptr; }
  /// (nodes, F) in the GPU's reach; no rows where the host gathers.
  ConstMatrixView features() const { return features_.view(); }
  bool holds_features() const { return feature_place_ == DataPlace::kDevice; }
  /// For the log: "graph (120 MiB) in GPU memory, features (229 MiB) in page-locked host memory".
  std::string describe() const;

 private:
  /// Memory left for what kAuto places.
  struct Room {
    std::size_t device = 0;
    std::size_t pinned = 0;
  };
  static DataPlace choose(DataPlace asked, std::size_t bytes, Room& room);

  std::size_t topology_bytes_;
  std::size_t feature_bytes_;
  DataPlace graph_place_ = DataPlace::kHost;
  DataPlace feature_place_ = DataPlace::kHost;
  std::optional<DeviceTopology> topology_;
  Matrix features_;
};

}  // namespace gsplit
