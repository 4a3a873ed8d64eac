// What crosses between workers in a step, by layer and by what travels; counted by the sender.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace gsplit {

/// What a layer's shuffle carries. The greatest one that travelled stands for a layer.
enum class Cargo : std::uint32_t {
  kNothing,
  kRows,         ///< source rows as they are
  kProjected,    ///< source rows that the owner has multiplied by the weights
  kSums,         ///< partial sums, or a mixture of rows and sums
  kColumnParts,  ///< mode p3: sums over columns
  kCachedRows,   ///< input rows that another worker's cache keeps (mode data)
};

struct LayerTraffic {
  std::uint64_t bytes = 0;       ///< float payload as sent, forward and backward
  std::uint64_t bytes_pull = 0;  ///< what pulling fp32 rows would have sent
  Cargo cargo = Cargo::kNothing;

  LayerTraffic& operator+=(const LayerTraffic& other) {
    bytes += other.bytes;
    bytes_pull += other.bytes_pull;
    cargo = std::max(cargo, other.cargo);
    return *this;
  }
};

/// By layer, the input layer first; what follows the last entry's layer counts as of it.
inline constexpr std::size_t kCountedLayers = 16;
using TrafficByLayer = std::array<LayerTraffic, kCountedLayers>;

struct ShuffleCounters {
  double seconds = 0;  ///< inside exchanges
  TrafficByLayer layers = {};
  std::size_t layer = 0;      ///< whose exchanges are counted now
  std::int64_t in_width = 0;  ///< of that layer's source rows

  void add(const LayerTraffic& traffic) { layers[std::min(layer, kCountedLayers - 1)] += traffic; }
};

}  // namespace gsplit
