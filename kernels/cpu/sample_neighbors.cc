#include <limits>
#include <vector>

#include "kernels/base/sample_positions.h"
#include "kernels/cpu/ops.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 256;  // destinations per chunk

std::uint32_t drawn(const SampleNeighborsArgs& args, LocalId node) {
  return sample_size(static_cast<std::uint32_t>(args.topology.degree(node)), args.fanout);
}

Buffer<RowIndex> row_offsets(const SampleNeighborsArgs& args, Memory& memory) {
  Buffer<RowIndex> indptr(memory, args.destinations.size() + 1);
  std::uint64_t edges = 0;
  for (std::size_t i = 0; i < args.destinations.size(); ++i) {
    indptr.data()[i] = static_cast<RowIndex>(edges);
    edges += drawn(args, args.destinations[i]);
    if (edges > std::numeric_limits<RowIndex>::max()) {
      throw UsageError("a mini-batch samples more than 2^32 edges on one worker",
                       "use a smaller --batch-size or --fanout, or more workers");
    }
  }
  indptr.data()[args.destinations.size()] = static_cast<RowIndex>(edges);
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

void sample_one(const SampleNeighborsArgs& args, LocalId node, const Drawn& out, Scratch& scratch) {
  const std::int64_t begin = args.topology.indptr[value(node)];
  const auto degree = static_cast<std::uint32_t>(args.topology.degree(node));
  const auto count = static_cast<std::uint32_t>(out.neighbors.size());
  if (count == degree) {
    for (std::uint32_t i = 0; i < count; ++i) take(args.topology, begin + i, i, out);
    return;
  }
  scratch.positions.resize(count);
  sample_positions(degree, count, args.key, args.topology.original_ids[value(node)], scratch.bitmap,
                   scratch.positions.data());
  for (std::uint32_t i = 0; i < count; ++i) {
    take(args.topology, begin + scratch.positions[i], i, out);
  }
}

}  // namespace

SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, Memory& memory,
                                  const Team& team) {
  SampledNeighbors result;
  result.indptr = row_offsets(args, memory);
  const RowIndex* const indptr = result.indptr.data();
  result.neighbors = Buffer<GlobalId>(memory, indptr[args.destinations.size()]);
  const std::span<GlobalId> neighbors = result.neighbors.span();
  if (!args.topology.edge_weights.empty()) result.weights = Buffer<float>(memory, neighbors.size());
  const std::span<float> weights = result.weights.span();
  for_ranges(team, static_cast<std::int64_t>(args.destinations.size()), kGrain,
             [&](std::int64_t begin, std::int64_t end) {
               Scratch scratch;
               for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                    ++i) {
                 const std::size_t count = indptr[i + 1] - indptr[i];
                 sample_one(args, args.destinations[i],
                            {neighbors.subspan(indptr[i], count),
                             weights.empty() ? weights : weights.subspan(indptr[i], count)},
                            scratch);
               }
             });
  return result;
}

}  // namespace gsplit::cpu
