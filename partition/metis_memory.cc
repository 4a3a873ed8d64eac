#include "partition/metis_memory.h"

#include <limits>

namespace gsplit {
namespace {

/// Above the measured peaks: 55 bytes an undirected edge in all on a web graph of 2.7 million, 105
/// to 124 on an sbm of 15 million, 156 on an rmat of 4.7 million edges and 0.5 million nodes.
constexpr std::uint64_t kBytesAnEdge = 130, kBytesANode = 250;
constexpr std::uint64_t kSampledNodes = 20000;
constexpr std::uint64_t kMaxSum = std::numeric_limits<std::int32_t>::max();

/// Whether the edge u -> v is stored.
bool has_edge(const CscView& graph, std::uint64_t u, std::uint64_t v) {
  std::int64_t low = graph.indptr[v], high = graph.indptr[v + 1];
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (graph.neighbor(middle) < u) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < graph.indptr[v + 1] && graph.neighbor(low) == u;
}

/// The share of v's row in the undirected edges: half an edge where the other direction is stored.
double undirected_edges(const CscView& graph, std::uint64_t v) {
  double edges = 0;
  for (std::int64_t e = graph.indptr[v]; e < graph.indptr[v + 1]; ++e) {
    const std::uint64_t u = graph.neighbor(e);
    const bool repeated = e > graph.indptr[v] && graph.neighbor(e - 1) == u;
    if (u != v && !repeated) edges += has_edge(graph, v, u) ? 0.5 : 1;
  }
  return edges;
}

}  // namespace

MetisEstimate estimate_metis(const CscView& graph) {
  const std::uint64_t nodes = graph.num_nodes();
  const std::uint64_t step = 1 + nodes / kSampledNodes;
  double stored = 0, undirected = 0;
  for (std::uint64_t v = 0; v < nodes; v += step) {
    stored += static_cast<double>(graph.indptr[v + 1] - graph.indptr[v]);
    undirected += undirected_edges(graph, v);
  }
  const double rate = stored == 0 ? 1 : undirected / stored;
  MetisEstimate estimate{.nodes = nodes};
  estimate.edges = static_cast<std::uint64_t>(rate * static_cast<double>(graph.num_edges()));
  estimate.bytes = kBytesAnEdge * estimate.edges + kBytesANode * nodes;
  return estimate;
}

bool metis_fits(const MetisEstimate& estimate, std::uint64_t memory) {
  return estimate.nodes <= kMaxSum / 2 && 2 * estimate.edges <= kMaxSum && estimate.bytes <= memory;
}

}  // namespace gsplit
