#include "partition/metis_partitioner.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "partition/node_loads.h"
#include "partition/simple_partitioners.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kMaxSum = std::numeric_limits<std::int32_t>::max();

/// The out-edges of every node: destination and weight, ascending by destination.
struct OutEdges {
  std::vector<std::uint64_t> offsets;       // (num_nodes + 1)
  std::vector<std::uint32_t> destinations;  // (num_edges)
  std::vector<std::uint16_t> samples;       // (num_edges)
};

OutEdges transpose(const CscView& graph, std::span<const std::uint16_t> edge_samples) {
  const std::uint64_t nodes = graph.num_nodes(), edges = graph.num_edges();
  OutEdges out{.offsets = std::vector<std::uint64_t>(nodes + 1, 0),
               .destinations = std::vector<std::uint32_t>(edges),
               .samples = std::vector<std::uint16_t>(edges)};
  for (std::uint64_t e = 0; e < edges; ++e) {
    ++out.offsets[graph.neighbor(static_cast<std::int64_t>(e)) + 1];
  }
  std::partial_sum(out.offsets.begin(), out.offsets.end(), out.offsets.begin());
  std::vector<std::uint64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  for (std::uint64_t v = 0; v < nodes; ++v) {
    for (std::int64_t e = graph.indptr[v]; e < graph.indptr[v + 1]; ++e) {
      const std::uint64_t place = next[graph.neighbor(e)]++;
      out.destinations[place] = static_cast<std::uint32_t>(v);
      out.samples[place] = edge_samples[static_cast<std::size_t>(e)];
    }
  }
  return out;
}

/// Merges the ascending in- and out-neighbours of `v`; calls emit(neighbour, summed samples) once
/// for each neighbour but v itself.
template <class Emit>
void merge_neighbors(const CscView& graph, std::span<const std::uint16_t> edge_samples,
                     const OutEdges& out, std::uint64_t v, Emit&& emit) {
  std::int64_t in = graph.indptr[v];
  const std::int64_t in_end = graph.indptr[v + 1];
  std::uint64_t o = out.offsets[v];
  const std::uint64_t o_end = out.offsets[v + 1];
  while (in < in_end || o < o_end) {
    const std::uint64_t from_in = in < in_end ? graph.neighbor(in) : graph.num_nodes();
    const std::uint64_t from_out = o < o_end ? out.destinations[o] : graph.num_nodes();
    const std::uint64_t u = std::min(from_in, from_out);
    std::uint64_t samples = 0;
    for (; in < in_end && graph.neighbor(in) == u; ++in) {
      samples += edge_samples[static_cast<std::size_t>(in)];
    }
    for (; o < o_end && out.destinations[o] == u; ++o) samples += out.samples[o];
    if (u != v) emit(u, samples);
  }
}

BalancedLoads balanced_loads(const PresampleCounts& counts, int parts) {
  const NodeLoads loads(counts, parts);
  const std::vector<std::uint64_t> values(loads.values().begin(), loads.values().end());
  return scale_loads(values, static_cast<std::size_t>(loads.constraints()));
}

}  // namespace

SymmetricGraph symmetrize(const CscView& graph, std::span<const std::uint16_t> edge_samples,
                          int threads) {
  const std::uint64_t nodes = graph.num_nodes();
  check_metis_limits(nodes, 0);
  const OutEdges out = transpose(graph, edge_samples);
  std::vector<std::uint32_t> degrees(nodes, 0);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1024)
  for (std::uint64_t v = 0; v < nodes; ++v) {
    merge_neighbors(graph, edge_samples, out, v,
                    [&](std::uint64_t, std::uint64_t) { ++degrees[v]; });
  }
  const std::uint64_t entries = std::accumulate(degrees.begin(), degrees.end(), std::uint64_t{0});
  check_metis_limits(nodes, entries);
  SymmetricGraph result{.xadj = std::vector<std::int32_t>(nodes + 1, 0),
                        .adjncy = std::vector<std::int32_t>(entries),
                        .adjwgt = std::vector<std::int32_t>(entries)};
  std::partial_sum(degrees.begin(), degrees.end(), result.xadj.begin() + 1);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1024)
  for (std::uint64_t v = 0; v < nodes; ++v) {
    auto place = static_cast<std::size_t>(result.xadj[v]);
    merge_neighbors(graph, edge_samples, out, v, [&](std::uint64_t u, std::uint64_t samples) {
      result.adjncy[place] = static_cast<std::int32_t>(u);
      result.adjwgt[place++] = static_cast<std::int32_t>(std::min(samples, kMaxSum));
    });
  }
  scale_edge_weights<std::int32_t>(result.adjwgt, result.adjwgt);
  return result;
}

Assignment metis_partition(const CscView& graph, const PresampleCounts& counts,
                           const MetisOptions& options) {
  check_part_count(options.parts, graph.num_nodes());
  if (graph.num_nodes() < kLeastNodesPerPart * static_cast<std::size_t>(options.parts)) {
    return range_partition(graph, options.parts);
  }
  SymmetricGraph symmetric = symmetrize(graph, counts.edge_samples, options.threads);
  if (symmetric.adjncy.empty()) return range_partition(graph, options.parts);
  BalancedLoads loads = balanced_loads(counts, options.parts);
  Assignment assignment =
      metis_kway(symmetric, loads, {.parts = options.parts, .seed = options.seed});
  repair_empty_parts(assignment, options.parts);
  return assignment;
}

}  // namespace gsplit
