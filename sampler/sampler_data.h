// What a sampler reads beside the neighbour lists, made once before the first mini-batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "kernels/sampling.h"

namespace gsplit {

class SamplerData {
 public:
  /// For kUniform, which needs nothing.
  SamplerData() = default;
  /// `topology`: of the own part, with the weights of its edges for kWeighted; `bounds` and
  /// `owners`: of all parts. Collective for kLabor: the workers tell each other whose node is
  /// whose, 8 bytes a node of the graph. The topology's arrays must outlive it.
  SamplerData(Sampler sampler, const TopologyView& topology, std::span<const std::uint64_t> bounds,
              Communicator& owners);

  SamplerView view() const { return {sampler_, names_, weight_sums_, positive_edges_}; }
  /// What it allocates.
  std::size_t bytes() const;

 private:
  void gather_names(const TopologyView& topology, std::span<const std::uint64_t> bounds,
                    Communicator& owners);
  void sum_weights(const TopologyView& topology);

  Sampler sampler_ = Sampler::kUniform;
  std::vector<OriginalId> gathered_;  // where there are several parts
  std::span<const OriginalId> names_;
  std::vector<std::uint32_t> weight_sums_;
  std::vector<std::uint32_t> positive_edges_;
};

}  // namespace gsplit
