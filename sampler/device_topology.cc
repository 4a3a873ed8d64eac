#include "sampler/device_topology.h"

namespace gsplit {
namespace {

template <class T>
Buffer<T> copied(std::span<const T> host, Memory& home, Memory& device, Stream& stream) {
  Buffer<T> copy(home, host.size());
  device.copy(copy.data(), host.data(), host.size_bytes(), stream);
  return copy;
}

}  // namespace

DeviceTopology::DeviceTopology(const TopologyView& topology, const SamplerView& data, Memory& home,
                               Memory& device, Stream& stream)
    : indptr_(copied(topology.indptr, home, device, stream)),
      indices32_(copied(topology.indices32, home, device, stream)),
      indices64_(copied(topology.indices64, home, device, stream)),
      original_ids_(copied(topology.original_ids, home, device, stream)),
      edge_weights_(copied(topology.edge_weights, home, device, stream)),
      sampler_(data.sampler),
      names_(copied(data.names, home, device, stream)),
      weight_sums_(copied(data.weight_sums, home, device, stream)),
      positive_edges_(copied(data.positive_edges, home, device, stream)) {}

TopologyView DeviceTopology::topology() const {
  return {.indptr = indptr_.span(),
          .indices32 = indices32_.span(),
          .indices64 = indices64_.span(),
          .original_ids = original_ids_.span(),
          .edge_weights = edge_weights_.span()};
}

SamplerView DeviceTopology::data() const {
  return {sampler_, names_.span(), weight_sums_.span(), positive_edges_.span()};
}

std::size_t DeviceTopology::bytes(const TopologyView& topology, const SamplerView& data) {
  return topology.indptr.size_bytes() + topology.indices32.size_bytes() +
         topology.indices64.size_bytes() + topology.original_ids.size_bytes() +
         topology.edge_weights.size_bytes() + data.names.size_bytes() +
         data.weight_sums.size_bytes() + data.positive_edges.size_bytes();
}

}  // namespace gsplit
