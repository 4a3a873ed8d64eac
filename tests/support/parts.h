// Small graphs for tests, whole and cut into the parts of several workers, without files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/base/ids.h"
#include "kernels/sampling.h"

namespace gsplit::test {

using Id = std::uint64_t;  // an original id, unless its name says global

/// In-neighbours by original id, ascending.
using Graph = std::vector<std::vector<Id>>;

/// By original id, beside the in-neighbours; empty: an unweighted graph.
using EdgeWeights = std::vector<std::vector<float>>;

inline Graph random_graph(Id nodes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Graph graph(nodes);
  for (Id v = 0; v < nodes; ++v) {
    const Id degree = v % 11 == 0 ? 0 : random() % (v % 7 == 0 ? 90 : 12);
    for (Id d = 0; d < degree; ++d) graph[v].push_back(random() % nodes);
    std::sort(graph[v].begin(), graph[v].end());  // parallel edges and self-loops stay
  }
  return graph;
}

/// Weights in (0, 2], and some zeros.
inline EdgeWeights random_weights(const Graph& graph, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  EdgeWeights weights;
  for (const auto& row : graph) {
    std::vector<float>& of_row = weights.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) {
      of_row.push_back(static_cast<float>(random() % 10 == 0 ? 0 : random() % 200 + 1) / 100);
    }
  }
  return weights;
}

/// A graph renumbered so that each worker owns a contiguous range.
struct Renumbered {
  std::vector<std::uint64_t> bounds{0};
  std::vector<Id> original;  // by global id
  std::vector<Id> global;    // by original id
  struct Part {
    std::vector<std::int64_t> indptr{0};
    std::vector<std::uint32_t> indices;
    std::vector<OriginalId> original_ids;
    std::vector<float> edge_weights;
    TopologyView topology() const { return {indptr, indices, {}, original_ids, edge_weights}; }
  };
  std::vector<Part> parts;

  /// Those of `nodes` (original) that worker `p` owns, as local ids, ascending.
  std::vector<LocalId> owned(const std::vector<Id>& nodes, std::size_t p) const {
    std::vector<LocalId> local;
    for (Id node : nodes) {
      const Id g = global[node];
      if (g < bounds[p] || g >= bounds[p + 1]) continue;
      local.push_back(LocalId{static_cast<std::uint32_t>(g - bounds[p])});
    }
    std::sort(local.begin(), local.end());
    return local;
  }
};

inline Renumbered renumber(const Graph& graph, const std::vector<int>& owner, int workers,
                           const EdgeWeights& weights = {}) {
  Renumbered result;
  result.global.resize(graph.size());
  for (int p = 0; p < workers; ++p) {
    for (Id v = 0; v < graph.size(); ++v) {
      if (owner[v] != p) continue;
      result.global[v] = result.original.size();
      result.original.push_back(v);
    }
    result.bounds.push_back(result.original.size());
  }
  for (int p = 0; p < workers; ++p) {
    Renumbered::Part& part = result.parts.emplace_back();
    for (Id g = result.bounds[p]; g < result.bounds[p + 1]; ++g) {
      part.original_ids.push_back(OriginalId{result.original[g]});
      for (Id u : graph[result.original[g]]) {
        part.indices.push_back(static_cast<std::uint32_t>(result.global[u]));
      }
      if (!weights.empty()) {
        const std::vector<float>& row = weights[result.original[g]];
        part.edge_weights.insert(part.edge_weights.end(), row.begin(), row.end());
      }
      part.indptr.push_back(static_cast<std::int64_t>(part.indices.size()));
    }
  }
  return result;
}

inline std::vector<int> random_owners(Id nodes, int workers, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int> owner(nodes);
  for (int& p : owner) p = static_cast<int>(random() % static_cast<unsigned>(workers));
  return owner;
}

}  // namespace gsplit::test
