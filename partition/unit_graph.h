// A small graph of clusters, held whole, and its partition by growing and moving: where the stream
// partitioner starts from.
//
// Every other trial streams the clusters (LDG, stream_partitioner.h). In the others parts are grown
// one after the other from a seed cluster, always by the free cluster that is most
// attached to the part (greedy graph growing, G. Karypis and V. Kumar, SIAM J. Sci. Comput. 20(1),
// 1998, section 4.2), then clusters move one at a time while that cuts less. The best of several
// trials is kept. Serial; deterministic by seed.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "partition/node_clusters.h"

namespace gsplit {

class UnitGraph {
 public:
  /// A unit keeps its heaviest in-neighbours: as many as it has nodes on average, 2 to this number.
  /// With the reverse edges that takes 32 bytes a node, 64 where units are hardly more than nodes.
  static constexpr std::size_t kMaxNeighbors = 64;

  /// One pass over the edges. Keeps a reference to `units`.
  UnitGraph(const WeightedGraph& graph, const NodeUnits& units, int threads);

  /// Part of every unit; as far as the units' sizes allow no part is above `limits` (constraints).
  std::vector<PartId> partition(int parts, const std::vector<std::uint64_t>& limits, int trials,
                                std::uint64_t seed) const;

 private:
  struct Neighbor {
    std::uint32_t unit;
    std::uint64_t weight;
  };
  struct Trial;

  void grow(Trial& trial, std::uint64_t seed) const;
  void stream(Trial& trial, std::uint64_t seed) const;
  void improve(Trial& trial) const;
  double cost(const Trial& trial) const;

  const NodeUnits& units_;
  std::vector<std::vector<Neighbor>> neighbors_;  // (units) both directions of each edge
};

}  // namespace gsplit
