#include "sampler/sampler_data.h"

#include <algorithm>

#include "kernels/base/weighted_positions.h"

namespace gsplit {

SamplerData::SamplerData(Sampler sampler, const TopologyView& topology,
                         std::span<const std::uint64_t> bounds, Communicator& owners)
    : sampler_(sampler) {
  if (sampler == Sampler::kLabor) gather_names(topology, bounds, owners);
  if (sampler == Sampler::kWeighted) sum_weights(topology);
}

void SamplerData::gather_names(const TopologyView& topology, std::span<const std::uint64_t> bounds,
                               Communicator& owners) {
  if (owners.size() == 1) {
    names_ = topology.original_ids;
    return;
  }
  gathered_.resize(bounds.back());
  for (int p = 0; p < owners.size(); ++p) {
    const auto part = static_cast<std::size_t>(p);
    const auto names = std::span(gathered_).subspan(bounds[part], bounds[part + 1] - bounds[part]);
    if (p == owners.rank()) std::ranges::copy(topology.original_ids, names.begin());
    owners.broadcast(std::as_writable_bytes(names), p);
  }
  names_ = gathered_;
}

void SamplerData::sum_weights(const TopologyView& topology) {
  weight_sums_.resize(topology.edge_weights.size());
  positive_edges_.resize(topology.num_nodes());
  for (std::size_t i = 0; i < topology.num_nodes(); ++i) {
    const auto begin = static_cast<std::size_t>(topology.indptr[i]);
    const std::size_t degree = static_cast<std::size_t>(topology.indptr[i + 1]) - begin;
    positive_edges_[i] = accumulate_weights(topology.edge_weights.subspan(begin, degree),
                                            std::span(weight_sums_).subspan(begin, degree));
  }
}

std::size_t SamplerData::bytes() const {
  return gathered_.size() * sizeof(OriginalId) +
         (weight_sums_.size() + positive_edges_.size()) * sizeof(std::uint32_t);
}

}  // namespace gsplit
