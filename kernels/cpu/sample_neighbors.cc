#include <limits>
#include <vector>

#include "kernels/base/labor.h"
#include "kernels/base/weighted_positions.h"
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 256;  // destinations per chunk

std::uint32_t degree_of(const SampleNeighborsArgs& args, LocalId node) {
  return static_cast<std::uint32_t>(args.topology.degree(node));
}

/// Of a sampler whose counts are known beforehand.
std::uint32_t number_drawn(const SampleNeighborsArgs& args, LocalId node) {
  const bool weighted = args.sampler.sampler == Sampler::kWeighted;
  return sample_size(weighted ? args.sampler.positive_edges[value(node)] : degree_of(args, node),
                     args.fanout);
}

/// `count(i)`: edges of destination i.
template <class Count>
Buffer<RowIndex> row_offsets(std::size_t destinations, Memory& memory, Count&& count) {
  Buffer<RowIndex> indptr(memory, destinations + 1);
  std::uint64_t edges = 0;
  for (std::size_t i = 0; i < destinations; ++i) {
    indptr.data()[i] = static_cast<RowIndex>(edges);
    edges += count(i);
    if (edges > std::numeric_limits<RowIndex>::max()) {
      throw UsageError("a mini-batch samples more than 2^32 edges on one worker",
                       "use a smaller --batch-size or --fanout, or more workers");
    }
  }
  indptr.data()[destinations] = static_cast<RowIndex>(edges);
  return indptr;
}

struct Scratch {
  std::vector<std::uint64_t> bitmap;
  std::vector<std::uint32_t> positions;
};

/// One destination's places in the result.
struct Drawn {
  std::span<GlobalId> neighbors;
  std::span<float> weights;  // empty where the topology has none
};

/// Takes the edge at `edge` as number `i` of `out`.
void take(const TopologyView& topology, std::int64_t edge, std::size_t i, const Drawn& out) {
  out.neighbors[i] = topology.neighbor(edge);
  if (!out.weights.empty()) out.weights[i] = topology.edge_weights[static_cast<std::size_t>(edge)];
}

void draw_positions(const SampleNeighborsArgs& args, LocalId node, Scratch& scratch) {
  const auto count = static_cast<std::uint32_t>(scratch.positions.size());
  const OriginalId name = args.topology.original_ids[value(node)];
  if (args.sampler.sampler == Sampler::kWeighted) {
    const auto begin = static_cast<std::size_t>(args.topology.indptr[value(node)]);
    weighted_positions(args.sampler.weight_sums.subspan(begin, degree_of(args, node)),
                       args.sampler.positive_edges[value(node)], count, args.key, name,
                       scratch.positions.data());
  } else {
    sample_positions(degree_of(args, node), count, args.key, name, scratch.bitmap,
                     scratch.positions.data());
  }
}

void sample_one(const SampleNeighborsArgs& args, LocalId node, const Drawn& out, Scratch& scratch) {
  const std::int64_t begin = args.topology.indptr[value(node)];
  const auto count = static_cast<std::uint32_t>(out.neighbors.size());
  if (count == degree_of(args, node)) {
    for (std::uint32_t i = 0; i < count; ++i) take(args.topology, begin + i, i, out);
    return;
  }
  scratch.positions.resize(count);
  draw_positions(args, node, scratch);
  for (std::uint32_t i = 0; i < count; ++i) {
    take(args.topology, begin + scratch.positions[i], i, out);
  }
}

/// Arrays for all edges of result.indptr.
void allocate_edges(const SampleNeighborsArgs& args, Memory& memory, SampledNeighbors& result) {
  const RowIndex edges = result.indptr.span().back();
  result.neighbors = Buffer<GlobalId>(memory, edges);
  if (!args.topology.edge_weights.empty()) result.weights = Buffer<float>(memory, edges);
}

/// The places of edges [begin, end).
Drawn places(SampledNeighbors& result, RowIndex begin, RowIndex end) {
  const std::span<float> weights = result.weights.span();
  return {result.neighbors.span().subspan(begin, end - begin),
          weights.empty() ? weights : weights.subspan(begin, end - begin)};
}

/// Appends the edges into `node` that LABOR keeps.
void keep_edges(const SampleNeighborsArgs& args, LocalId node, std::vector<std::int64_t>& edges) {
  const std::uint32_t degree = degree_of(args, node);
  const bool all = args.fanout >= static_cast<std::int64_t>(degree);
  const std::int64_t begin = args.topology.indptr[value(node)];
  for (std::int64_t e = begin; e < begin + degree; ++e) {
    const auto variate = [&] {
      return labor_variate(args.key, args.sampler.names[value(args.topology.neighbor(e))]);
    };
    if (all || labor_keeps(variate(), args.fanout, degree)) edges.push_back(e);
  }
}

/// How many edges a destination keeps is known when they have been looked at: chunks note which,
/// then they are put together.
SampledNeighbors sample_by_labor(const SampleNeighborsArgs& args, Memory& memory,
                                 const Team& team) {
  const auto destinations = static_cast<std::int64_t>(args.destinations.size());
  std::vector<std::vector<std::int64_t>> kept(
      static_cast<std::size_t>(num_chunks(destinations, kGrain)));
  std::vector<RowIndex> counts(args.destinations.size());
  for_chunks(
      team, destinations, kGrain, [&](std::int64_t chunk, std::int64_t begin, std::int64_t end) {
        std::vector<std::int64_t>& edges = kept[static_cast<std::size_t>(chunk)];
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          const std::size_t before = edges.size();
          keep_edges(args, args.destinations[i], edges);
          counts[i] = static_cast<RowIndex>(edges.size() - before);
        }
      });
  SampledNeighbors result;
  result.indptr = row_offsets(counts.size(), memory, [&](std::size_t i) { return counts[i]; });
  allocate_edges(args, memory, result);
  const RowIndex* const indptr = result.indptr.data();
  for_chunks(team, destinations, kGrain,
             [&](std::int64_t chunk, std::int64_t begin, std::int64_t end) {
               const std::vector<std::int64_t>& edges = kept[static_cast<std::size_t>(chunk)];
               const Drawn out = places(result, indptr[begin], indptr[end]);
               for (std::size_t e = 0; e < edges.size(); ++e) {
                 take(args.topology, edges[e], e, out);
               }
             });
  return result;
}

}  // namespace

SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, Memory& memory,
                                  const Team& team) {
  if (args.sampler.sampler == Sampler::kLabor && args.fanout >= 0) {
    return sample_by_labor(args, memory, team);
  }
  SampledNeighbors result;
  result.indptr = row_offsets(args.destinations.size(), memory, [&](std::size_t i) {
    return number_drawn(args, args.destinations[i]);
  });
  allocate_edges(args, memory, result);
  const RowIndex* const indptr = result.indptr.data();
  for_ranges(
      team, static_cast<std::int64_t>(args.destinations.size()), kGrain,
      [&](std::int64_t begin, std::int64_t end) {
        Scratch scratch;
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          sample_one(args, args.destinations[i], places(result, indptr[i], indptr[i + 1]), scratch);
        }
      });
  return result;
}

}  // namespace gsplit::cpu
