// The rules of SamplingOps::cover(), a small cover of a bipartite graph's edges in linear time, and
// how both backends walk the graph. They work in rounds whose outcome no order within the round
// changes.
//
// 1. Peel: of each node with one edge left the neighbour is taken, and its edges go. Some smallest
//    cover of what is left has these nodes (R. Karp, M. Sipser: Maximum matchings in sparse random
//    graphs, FOCS 1981). Of an edge that stands alone the right node is taken.
// 2. Greedy: for thresholds falling from the largest degree, all lefts of at least so many edges
//    are taken, then all such rights, each followed by peeling. Nodes of one side share no edge, so
//    a side is taken at once. What has the same degree needs no order.
// 3. Drop: lefts all of whose neighbours are taken go, then such rights: no node can be spared now.
// 4. If one side's nodes that have edges are fewer, they are the cover: the rights if equal.
// 5. The peels are a matching, and any cover has a node of each of its edges. If the cover has more
//    than twice as many nodes, a maximal matching is made: in rounds each unmatched left asks the
//    first unmatched right of its list, and the smallest left that asks gets it. If the cover has
//    more nodes than are matched, these are taken instead, and rule 3 follows. (F. Gavril: a cover
//    is then at most twice the smallest.)
//
// Every edge goes once, a node is asked for its degree once a threshold: O(edges + nodes log
// degree).
#pragma once

#include <cstdint>

#include "kernels/base/ids.h"

namespace gsplit::cover_rules {

/// Nodes are numbered: lefts first, then rights. Does not own.
struct Graph {
  const RowIndex* left_offsets;
  const RowIndex* rights;
  const RowIndex* right_offsets;
  const RowIndex* lefts;
  RowIndex num_lefts;

  constexpr bool is_left(RowIndex node) const { return node < num_lefts; }
  constexpr RowIndex begin(RowIndex node) const {
    return is_left(node) ? left_offsets[node] : right_offsets[node - num_lefts];
  }
  constexpr RowIndex end(RowIndex node) const {
    return is_left(node) ? left_offsets[node + 1] : right_offsets[node - num_lefts + 1];
  }
  constexpr RowIndex degree(RowIndex node) const { return end(node) - begin(node); }
  /// Of an edge in [begin(node), end(node)).
  constexpr RowIndex neighbor(RowIndex node, RowIndex edge) const {
    return is_left(node) ? num_lefts + rights[edge] : lefts[edge];
  }
};

/// Thresholds end with 2: nodes with fewer edges are peeled.
inline constexpr RowIndex kLastThreshold = 2;

/// Falls by a quarter, so that a few dozen steps lead from any degree to 2.
constexpr RowIndex next_threshold(RowIndex threshold) {
  return threshold - (threshold < 8 ? 1 : threshold / 4);
}

}  // namespace gsplit::cover_rules
