#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/base/labor.h"
#include "kernels/base/weighted_positions.h"
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 256;  // destinations per chunk
constexpr std::int64_t kCountGrain = 4096;

std::uint32_t degree_of(const SampleNeighborsArgs& args, LocalId node) {
  return static_cast<std::uint32_t>(args.topology.degree(node));
}

/// Of a sampler whose counts are known beforehand.
std::uint32_t number_drawn(const SampleNeighborsArgs& args, LocalId node) {
  const bool weighted = args.sampler.sampler == Sampler::kWeighted;
  return sample_size(weighted ? args.sampler.positive_edges[value(node)] : degree_of(args, node),
                     args.fanout);
}

/// Of destinations [begin, end).
void count_edges(const SampleNeighborsArgs& args, std::size_t begin, std::size_t end,
                 std::span<RowIndex> counts) {
  constexpr std::size_t kAhead = 16;
  for (std::size_t i = begin; i < end; ++i) {
    if (i + kAhead < end) {
      __builtin_prefetch(&args.topology.indptr[value(args.destinations[i + kAhead])]);
    }
    counts[i] = number_drawn(args, args.destinations[i]);
  }
}

/// `counts`: edges of each destination.
Buffer<RowIndex> row_offsets(std::span<const RowIndex> counts, Memory& memory) {
  Buffer<RowIndex> indptr(memory, counts.size() + 1);
  std::uint64_t edges = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    indptr.data()[i] = static_cast<RowIndex>(edges);
    edges += counts[i];
    if (edges > std::numeric_limits<RowIndex>::max()) {
      throw UsageError("a mini-batch samples more than 2^32 edges on one worker",
                       "use a smaller --batch-size or --fanout, or more workers");
    }
  }
  indptr.data()[counts.size()] = static_cast<RowIndex>(edges);
  return indptr;
}

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

/// Draws for a few destinations at a time, so that their cache misses are in flight together: first
/// the places of rows, then positions, then the edges at these positions.
class Drawer {
 public:
  Drawer(const SampleNeighborsArgs& args, SampledNeighbors& result)
      : args_(args), result_(result) {}

  /// Destinations [begin, end).
  void draw(std::size_t begin, std::size_t end) {
    ask_for_rows(begin, std::min(begin + kTogether, end));
    for (std::size_t first = begin; first < end; first += kTogether) {
      const std::size_t last = std::min(first + kTogether, end);
      ask_for_rows(last, std::min(last + kTogether, end));
      positions_.resize(indptr()[last] - indptr()[first]);
      for (std::size_t i = first; i < last; ++i) draw_positions(i, positions_of(i, first));
      for (std::size_t i = first; i < last; ++i) take_edges(i, positions_of(i, first));
    }
  }

 private:
  static constexpr std::size_t kTogether = 16;

  const RowIndex* indptr() const { return result_.indptr.data(); }
  std::span<std::uint32_t> positions_of(std::size_t i, std::size_t first) {
    return std::span(positions_)
        .subspan(indptr()[i] - indptr()[first], indptr()[i + 1] - indptr()[i]);
  }
  bool takes_all(LocalId node, std::span<const std::uint32_t> positions) const {
    return positions.size() == degree_of(args_, node);
  }

  void ask_for_rows(std::size_t begin, std::size_t end) const {
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t node = value(args_.destinations[i]);
      __builtin_prefetch(&args_.topology.indptr[node]);
      __builtin_prefetch(&args_.topology.original_ids[node]);
    }
  }

  void draw_positions(std::size_t i, std::span<std::uint32_t> positions) {
    const LocalId node = args_.destinations[i];
    if (takes_all(node, positions)) return;
    const auto count = static_cast<std::uint32_t>(positions.size());
    const OriginalId name = args_.topology.original_ids[value(node)];
    const auto begin = static_cast<std::size_t>(args_.topology.indptr[value(node)]);
    if (args_.sampler.sampler == Sampler::kWeighted) {
      weighted_positions(args_.sampler.weight_sums.subspan(begin, degree_of(args_, node)),
                         args_.sampler.positive_edges[value(node)], count, args_.key, name,
                         positions.data());
    } else {
      sample_positions(degree_of(args_, node), count, args_.key, name, bitmap_, positions.data());
    }
    for (const std::uint32_t position : positions) ask_for_edge(begin + position);
  }

  void ask_for_edge(std::size_t edge) const {
    const TopologyView& topology = args_.topology;
    if (topology.indices64.empty()) {
      __builtin_prefetch(&topology.indices32[edge]);
    } else {
      __builtin_prefetch(&topology.indices64[edge]);
    }
    if (!topology.edge_weights.empty()) __builtin_prefetch(&topology.edge_weights[edge]);
  }

  void take_edges(std::size_t i, std::span<const std::uint32_t> positions) {
    const LocalId node = args_.destinations[i];
    const std::int64_t begin = args_.topology.indptr[value(node)];
    const Drawn out = places(result_, indptr()[i], indptr()[i + 1]);
    const bool all = takes_all(node, positions);
    for (std::size_t e = 0; e < positions.size(); ++e) {
      take(args_.topology, begin + static_cast<std::int64_t>(all ? e : positions[e]), e, out);
    }
  }

  const SampleNeighborsArgs& args_;
  SampledNeighbors& result_;
  std::vector<std::uint32_t> positions_;  // of the destinations at hand
  std::vector<std::uint64_t> bitmap_;
};

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
  result.indptr = row_offsets(counts, memory);
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
  const auto destinations = static_cast<std::int64_t>(args.destinations.size());
  std::vector<RowIndex> counts(args.destinations.size());
  for_ranges(team, destinations, kCountGrain, [&](std::int64_t begin, std::int64_t end) {
    count_edges(args, static_cast<std::size_t>(begin), static_cast<std::size_t>(end), counts);
  });
  SampledNeighbors result;
  result.indptr = row_offsets(counts, memory);
  allocate_edges(args, memory, result);
  for_ranges(team, destinations, kGrain, [&](std::int64_t begin, std::int64_t end) {
    Drawer(args, result).draw(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
  });
  return result;
}

Growth grow(const GrowArgs& args, Memory& memory, const Team& team, Stream& stream) {
  Growth growth{sample_neighbors(args.draws, memory, team), {}, {}};
  args.needed.insert(growth.drawn.neighbors.span(), stream);
  growth.needed = args.needed.seal(args.owners, stream);
  Buffer<LocalId> own(memory, growth.needed[args.self]);
  args.needed.members(args.owners[args.self], own.span(), stream);
  args.joining.insert_absent(own.span(), args.positions, stream);
  if (args.owners.size() == 1) {
    const GlobalRange everyone{0, args.owners.front().size()};
    growth.joined = args.joining.seal({{everyone}}, stream).front();
  }
  return growth;
}

}  // namespace gsplit::cpu
