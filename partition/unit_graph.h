// The graph of clusters, small enough to be held whole and given to METIS: where the stream
// partitioner starts from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "partition/metis.h"
#include "partition/node_clusters.h"

namespace gsplit {

/// The graph holds the largest units, up to kMaxUnits; each keeps its heaviest in-neighbours, as
/// many as units have nodes on average, 2 to kMaxUnitNeighbors. So METIS's memory stays below 2 GB
/// for any graph, and below some hundred bytes a node.
inline constexpr std::size_t kMaxUnits = std::size_t{1} << 18, kMaxUnitNeighbors = 32;

struct UnitGraph {
  std::vector<std::uint32_t> units;  ///< (nodes of `edges`) those with neighbours, ascending
  /// An edge weighs what the edges of both directions between its two units do.
  SymmetricGraph edges;
};

/// One pass over the edges of `graph`. The same for any number of threads.
UnitGraph make_unit_graph(const WeightedGraph& graph, const NodeUnits& units, int threads);

/// The part of every unit: METIS's of those in the graph; the others fill up the parts, heavy ones
/// first. `limits`: (constraints) what a part may hold, kept as far as the units' sizes allow.
Assignment partition_units(UnitGraph graph, const NodeUnits& units,
                           std::vector<std::uint64_t> limits, const KwayOptions& options);

}  // namespace gsplit
