// Minimum vertex covers of bipartite graphs.
//
// J. Hopcroft, R. Karp: An n^(5/2) algorithm for maximum matchings in bipartite graphs, SIAM J.
// Comput. 2 (1973), finds a largest matching; D. Koenig: Graphok es matrixok, Matematikai es
// Fizikai Lapok 38 (1931), shows that a smallest vertex cover has as many nodes, and which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gsplit {

/// Edges by left node. Does not own. Parallel edges are allowed.
struct BipartiteView {
  std::span<const std::uint32_t> offsets;  ///< (left nodes + 1)
  std::span<const std::uint32_t> rights;   ///< (edges), below num_rights
  std::size_t num_rights = 0;

  std::size_t num_lefts() const { return offsets.size() - 1; }
  std::span<const std::uint32_t> neighbors(std::size_t left) const {
    return rights.subspan(offsets[left], offsets[left + 1] - offsets[left]);
  }
};

/// 1 for each node of the cover, 0 for the others.
struct VertexCover {
  std::vector<std::uint8_t> lefts;
  std::vector<std::uint8_t> rights;

  std::size_t size() const;
};

/// As few nodes as possible such that each edge has one of them. A pure function of the graph, edge
/// order included; O(edges sqrt(nodes)) time.
VertexCover minimum_vertex_cover(const BipartiteView& graph);

}  // namespace gsplit
