#include "partition/metis_partitioner.h"

#include <fmt/format.h>
#include <metis.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"
#include "partition/simple_partitioners.h"

// METIS draws from rand(), which in the C library is one sequence of the whole process: other
// threads that draw meanwhile (gRPC's do) would change the partition. These take the library's
// place for the program and all it links with: a sequence for each thread (G. Steele et al.,
// "Fast splittable pseudorandom number generators", OOPSLA 2014).
namespace {
thread_local std::uint64_t random_state = 1;
}

extern "C" void srand(unsigned seed) noexcept { random_state = seed; }

extern "C" int rand() noexcept {
  random_state += 0x9E3779B97F4A7C15u;
  std::uint64_t mixed = random_state;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
  return static_cast<int>((mixed ^ (mixed >> 31)) >> 33);  // 31 bits: RAND_MAX
}

namespace gsplit {
namespace {

static_assert(RAND_MAX == 0x7FFFFFFF);
static_assert(sizeof(idx_t) == sizeof(std::int32_t), "written for METIS with 32-bit integers");

constexpr std::uint64_t kMaxSum = std::numeric_limits<std::int32_t>::max();
/// Allowed maximum / average of a constraint, as METIS's default for k-way is 1.03.
constexpr real_t kImbalance = 1.05f;

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

/// Turns times sampled into 1 + scaled times sampled, with a sum of at most 2^31 - 1.
void scale_edge_weights(std::vector<std::int32_t>& weights) {
  const std::uint64_t total = std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
  const std::uint64_t room = kMaxSum - weights.size();
  const double scale = total <= room ? 1.0 : static_cast<double>(room) / static_cast<double>(total);
  for (std::int32_t& weight : weights) weight = 1 + static_cast<std::int32_t>(weight * scale);
}

/// Nodes a part on average, below which METIS's recursive bisection meets empty halves, and prints
/// so.
constexpr std::size_t kLeastNodesPerPart = 8;

/// Whether enough nodes carry the load for it to be spread over the parts.
bool can_be_balanced(std::span<const std::uint64_t> load, int parts) {
  const auto idle = static_cast<std::size_t>(std::count(load.begin(), load.end(), 0u));
  return load.size() - idle >= kLeastNodesPerPart * static_cast<std::size_t>(parts);
}

/// METIS's node weights, (num_nodes, constraints) row-major, of the loads that can be balanced. (A
/// load that does not occur would make METIS divide by zero.)
struct NodeWeights {
  idx_t constraints = 0;
  std::vector<idx_t> values;
};

NodeWeights node_weights(const PresampleCounts& counts, int parts) {
  const std::vector<std::vector<std::uint64_t>> loads{
      counts.compute,
      {counts.input_rows.begin(), counts.input_rows.end()},
      {counts.is_seed.begin(), counts.is_seed.end()}};
  std::vector<std::vector<std::int32_t>> columns;
  for (const auto& load : loads) {
    if (can_be_balanced(load, parts)) columns.push_back(scale_loads(load));
  }
  const std::size_t nodes = counts.compute.size();
  if (columns.empty()) columns.emplace_back(nodes, 1);  // too little to train on: balance the nodes
  NodeWeights weights{.constraints = static_cast<idx_t>(columns.size()),
                      .values = std::vector<idx_t>(nodes * columns.size())};
  for (std::size_t v = 0; v < nodes; ++v) {
    for (std::size_t c = 0; c < columns.size(); ++c) {
      weights.values[v * columns.size() + c] = columns[c][v];
    }
  }
  return weights;
}

std::vector<idx_t> run_metis(SymmetricGraph& graph, NodeWeights& weights,
                             const MetisOptions& options) {
  idx_t settings[METIS_NOPTIONS];
  METIS_SetDefaultOptions(settings);
  settings[METIS_OPTION_NUMBERING] = 0;
  settings[METIS_OPTION_SEED] = static_cast<idx_t>(options.seed & 0x7FFFFFFFu);
  idx_t nodes = static_cast<idx_t>(graph.xadj.size() - 1), parts = options.parts, cut = 0;
  std::vector<real_t> imbalance(static_cast<std::size_t>(weights.constraints), kImbalance);
  std::vector<idx_t> part(graph.xadj.size() - 1);
  const int status = METIS_PartGraphKway(
      &nodes, &weights.constraints, graph.xadj.data(), graph.adjncy.data(), weights.values.data(),
      nullptr, graph.adjwgt.data(), &parts, nullptr, imbalance.data(), settings, &cut, part.data());
  if (status == METIS_OK) return part;
  throw SystemError(fmt::format("METIS {} on {} nodes and {} edges",
                                status == METIS_ERROR_MEMORY ? "ran out of memory" : "failed",
                                nodes, graph.adjncy.size() / 2),
                    "free memory or choose --method stream");
}

}  // namespace

void check_metis_limits(std::uint64_t nodes, std::uint64_t entries) {
  // Rounding loads up adds at most one a node to their sum: see scale_loads.
  if (nodes <= kMaxSum / 2 && entries <= kMaxSum) return;
  throw UsageError(
      fmt::format("the symmetrised graph has {} nodes and {} adjacency entries (2 an edge), but "
                  "METIS's 32-bit integers end at {} and {}",
                  nodes, entries, kMaxSum / 2, kMaxSum),
      "choose --method stream");
}

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
  scale_edge_weights(result.adjwgt);
  return result;
}

std::vector<std::int32_t> scale_loads(std::span<const std::uint64_t> loads) {
  const double total = std::accumulate(loads.begin(), loads.end(), 0.0);
  // Rounding up keeps small loads and adds less than one a node, for which room is left.
  const double limit = static_cast<double>(kMaxSum - loads.size());
  const double scale = total <= limit ? 1.0 : limit / total * (1 - 1e-9);
  std::vector<std::int32_t> scaled(loads.size());
  std::transform(loads.begin(), loads.end(), scaled.begin(), [scale](std::uint64_t load) {
    return static_cast<std::int32_t>(std::ceil(static_cast<double>(load) * scale));
  });
  return scaled;
}

Assignment metis_partition(const CscView& graph, const PresampleCounts& counts,
                           const MetisOptions& options) {
  GSPLIT_CHECK(options.parts > 1);  // METIS 5.1.0 dies of SIGFPE at one part
  check_part_count(options.parts, graph.num_nodes());
  if (graph.num_nodes() < kLeastNodesPerPart * static_cast<std::size_t>(options.parts)) {
    return range_partition(graph, options.parts);
  }
  SymmetricGraph symmetric = symmetrize(graph, counts.edge_samples, options.threads);
  if (symmetric.adjncy.empty()) return range_partition(graph, options.parts);
  NodeWeights weights = node_weights(counts, options.parts);
  const std::vector<idx_t> part = run_metis(symmetric, weights, options);
  Assignment assignment(part.begin(), part.end());
  repair_empty_parts(assignment, options.parts);
  return assignment;
}

}  // namespace gsplit
