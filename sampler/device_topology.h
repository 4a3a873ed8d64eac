// A part's in-edges, and what samplers read beside them, where a device can read them: in its own
// memory, or in page-locked memory of the host, which a GPU reads over the bus.
#pragma once

#include "kernels/memory.h"
#include "kernels/sampling.h"

namespace gsplit {

class DeviceTopology {
 public:
  /// Copies all arrays into `home`, which must outlive it; `device` carries the copies out.
  DeviceTopology(const TopologyView& topology, const SamplerView& data, Memory& home,
                 Memory& device, Stream& stream);

  TopologyView topology() const;
  SamplerView data() const;
  /// What it takes.
  static std::size_t bytes(const TopologyView& topology, const SamplerView& data);

 private:
  Buffer<std::int64_t> indptr_;
  Buffer<std::uint32_t> indices32_;
  Buffer<std::uint64_t> indices64_;
  Buffer<OriginalId> original_ids_;
  Buffer<float> edge_weights_;
  Sampler sampler_;
  Buffer<OriginalId> names_;
  Buffer<std::uint32_t> weight_sums_;
  Buffer<std::uint32_t> positive_edges_;
};

}  // namespace gsplit
