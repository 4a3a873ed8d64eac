// Clusters of nodes by size-constrained label propagation (U. N. Raghavan, R. Albert, S. Kumara,
// Phys. Rev. E 76, 036106, 2007; the limit on the size as in H. Meyerhenke, P. Sanders, C. Schulz,
// "Partitioning complex networks via size-constrained clustering", SEA 2014), by which the stream
// partitioner sees more than one node at a time.
//
// Only the in-edges of a node are at hand. Its out-edges are told by a few of its out-neighbours,
// drawn once (OutSample), which stand for all. Everything is the same for any number of threads:
// a batch of nodes is looked at against the state at its start, then moved one after the other.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "graph/csc.h"
#include "partition/node_loads.h"

namespace gsplit {

/// The graph with the weight of its edges: an edge that was sampled s times weighs 2 s + 1, so that
/// an undirected edge, which is stored twice, weighs twice what METIS is given.
struct WeightedGraph {
  CscView csc;
  std::span<const std::uint16_t> edge_samples;  ///< (num_edges)

  std::uint32_t weight(std::int64_t edge) const {
    return 2u * edge_samples[static_cast<std::size_t>(edge)] + 1u;
  }
  /// Brings the first in-edges of v into the cache.
  void prefetch_in(std::uint64_t v) const {
    const auto first = static_cast<std::size_t>(csc.indptr[v]);
    for (std::size_t e = first; e < first + 48 && e < edge_samples.size(); e += 16) {
      if (csc.indices64.empty()) __builtin_prefetch(&csc.indices32[e]);
      __builtin_prefetch(&edge_samples[e]);
    }
  }
  /// f(in-neighbour, weight) for about `most` in-edges of v spread over its row, but loops.
  template <class F>
  void for_some_in(std::uint64_t v, std::int64_t most, std::int64_t phase, F&& f) const {
    const std::int64_t begin = csc.indptr[v], end = csc.indptr[v + 1];
    const std::int64_t step = 1 + (end - begin - 1) / most;
    for (std::int64_t e = begin + phase % step; e < end; e += step) {
      if (const std::uint64_t u = csc.neighbor(e); u != v) f(u, weight(e));
    }
  }
  /// f(in-neighbour, weight) for the in-edges of v but loops.
  template <class F>
  void for_each_in(std::uint64_t v, F&& f) const {
    for (std::int64_t e = csc.indptr[v]; e < csc.indptr[v + 1]; ++e) {
      if (const std::uint64_t u = csc.neighbor(e); u != v) f(u, weight(e));
    }
  }
};

/// Up to kSlots out-neighbours of each node, drawn uniformly from its out-edges (reservoir
/// sampling: J. Vitter, ACM TOMS 11, 1985); 20 bytes a node, and 4 more while it is made.
class OutSample {
 public:
  static constexpr std::size_t kSlots = 4;

  /// REQUIRES: fewer than 2^32 - 1 nodes.
  OutSample(const WeightedGraph& graph, std::uint64_t seed, int threads);
  /// f(out-neighbour, the part of u's outgoing weight that it stands for).
  template <class F>
  void for_each_out(std::uint64_t u, F&& f) const {
    for (std::size_t slot = u * kSlots; slot < (u + 1) * kSlots && nodes_[slot] != kNone; ++slot) {
      f(nodes_[slot], weights_[u]);
    }
  }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  std::vector<std::uint32_t> nodes_;    // (num_nodes, kSlots)
  std::vector<std::uint32_t> weights_;  // (num_nodes)
};

/// Sets of nodes that move together. Each node belongs to one.
struct NodeUnits {
  std::vector<std::uint32_t> labels;   // (num_nodes) unit of each node
  std::vector<std::uint32_t> members;  // (num_nodes) grouped by unit, ascending within it
  std::vector<std::uint64_t> offsets;  // (units + 1) into members
  std::vector<std::uint64_t> loads;    // (units, constraints)

  std::size_t size() const { return offsets.size() - 1; }
  std::size_t unit_of(std::uint64_t node) const { return labels[node]; }
  std::span<const std::uint32_t> of(std::size_t unit) const {
    return std::span(members).subspan(offsets[unit], offsets[unit + 1] - offsets[unit]);
  }
  std::span<const std::uint64_t> load(std::size_t unit) const {
    return std::span(loads).subspan(unit * constraints(), constraints());
  }
  std::size_t constraints() const { return loads.size() / size(); }
};

/// Units from labels below the number of nodes; a unit's number follows its lowest node.
NodeUnits make_units(std::vector<std::uint32_t> labels, const NodeLoads& loads);

struct ClusterOptions {
  std::vector<std::uint64_t> limits;  ///< (constraints) the most that a cluster may hold
  std::uint64_t seed = 0;
  int threads = 1;
};

/// The label of each node (num_nodes). Each node is at first a cluster of its own; in every pass it
/// joins the cluster that most of its edges lead to and that has room. Passes end when few nodes
/// move or no fewer than before: 3 to 12.
std::vector<std::uint32_t> cluster_nodes(const WeightedGraph& graph, const OutSample& out,
                                         const NodeLoads& loads, const ClusterOptions& options);

/// A fixed order of 0 .. count - 1 that leaves neighbours in number far apart: multiples of a step
/// that is prime to `count`. O(1) memory. REQUIRES: count below 2^32.
class ScatteredOrder {
 public:
  ScatteredOrder(std::uint64_t count, std::uint64_t seed);
  std::uint64_t operator()(std::uint64_t i) const { return (i * step_ + start_) % count_; }

 private:
  std::uint64_t count_, step_, start_;
};

/// Nodes that are looked at against the same state: few enough that they seldom meet.
std::size_t batch_of_nodes(std::size_t nodes);

}  // namespace gsplit
