#include "runtime/train/device_data.h"

#include <fmt/core.h>

namespace gsplit {
namespace {

std::size_t bytes_of(const ConstMatrixView& matrix) {
  return static_cast<std::size_t>(matrix.rows) * static_cast<std::size_t>(matrix.cols) *
         size_of(matrix.dtype);
}

std::string place(const char* what, std::size_t bytes, DataPlace where) {
  const char* const names[] = {"", "GPU memory", "page-locked host memory", "host memory"};
  return fmt::format("{} ({:.0f} MiB) in {}", what, static_cast<double>(bytes) / (1 << 20),
                     names[static_cast<int>(where)]);
}

/// Of what was asked for by name.
void require_room(DataPlace asked, std::size_t bytes, Memory& device, const std::string& flag) {
  if (asked != DataPlace::kDevice || bytes <= device.available()) return;
  throw UsageError(fmt::format("{} device needs {} MiB, and {} MiB of the GPU's memory are free",
                               flag, bytes >> 20, device.available() >> 20),
                   "give auto, pinned or host");
}

std::size_t share_of(std::size_t bytes, double share) {
  return static_cast<std::size_t>(share * static_cast<double>(bytes));
}

}  // namespace

DataPlace data_place_from_name(const std::string& name, const std::string& flag) {
  if (name == "auto") return DataPlace::kAuto;
  if (name == "device") return DataPlace::kDevice;
  if (name == "pinned") return DataPlace::kPinned;
  if (name == "host") return DataPlace::kHost;
  throw UsageError(flag + " has the value " + name, "give auto, device, pinned or host");
}

DataPlace DeviceData::choose(DataPlace asked, std::size_t bytes, Room& room) {
  if (asked != DataPlace::kAuto) return asked;
  if (bytes <= room.device) {
    room.device -= bytes;
    return DataPlace::kDevice;
  }
  if (bytes <= room.pinned) {
    room.pinned -= bytes;
    return DataPlace::kPinned;
  }
  return DataPlace::kHost;
}

DeviceData::DeviceData(const DeviceDataOptions& options, const Shard& shard,
                       const TopologyView& topology, const SamplerView& sampling, Context& context)
    : topology_bytes_(DeviceTopology::bytes(topology, sampling)),
      feature_bytes_(bytes_of(shard.features())) {
  Memory& device = context.memory();
  if (device.host_accessible()) return;
  require_room(options.graph, topology_bytes_, device, "--gpu-graph");
  require_room(options.features, feature_bytes_, device, "--gpu-features");
  Memory& pinned = context.backend.pinned();
  Room room{share_of(device.available(), options.share),
            share_of(pinned.available(), options.share)};
  const auto home = [&](DataPlace where) -> Memory& {
    return where == DataPlace::kDevice ? device : pinned;
  };
  graph_place_ = choose(options.graph, topology_bytes_, room);
  if (graph_place_ != DataPlace::kHost) {
    topology_.emplace(topology, sampling, home(graph_place_), device, context.stream);
  }
  const ConstMatrixView rows = shard.features();
  if (rows.rows == 0 || rows.stride != rows.cols) return;
  feature_place_ = choose(options.features, feature_bytes_, room);
  if (feature_place_ == DataPlace::kHost) return;
  features_ = Matrix(home(feature_place_), rows.dtype, rows.rows, rows.cols);
  device.copy(features_.data(), rows.data, feature_bytes_, context.stream);
}

std::string DeviceData::describe() const {
  return place("graph", topology_bytes_, graph_place_) + ", " +
         place("features", feature_bytes_, feature_place_);
}

}  // namespace gsplit
