// Drawing neighbours. First how many each destination draws, then a prefix sum, whose total the
// host learns, at once or with other counts of the layer, then a thread draws the positions of one
// destination, which go one by one, and groups of lanes read the neighbours there. LABOR looks at
// every edge of a destination: a warp counts and, after the prefix sum, looks again and keeps.
//
// Bound by latency: scattered reads of 4 or 8 bytes.
#include <limits>
#include <optional>

#include "kernels/base/labor.h"
#include "kernels/base/weighted_positions.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sampling.h"
#include "kernels/cuda/scan.h"

namespace gsplit::cuda {
namespace {

constexpr int kLanes = 8;  // that read one destination's neighbours

/// What kernels read; all arrays are in reach of the device.
struct Draws {
  const LocalId* destinations;
  std::int64_t count;
  std::int32_t fanout;
  DrawKey key;
  Sampler sampler;
  const std::int64_t* indptr;
  const std::uint32_t* indices32;  ///< null: indices64
  const std::uint64_t* indices64;
  const OriginalId* original_ids;
  const float* edge_weights;  ///< null: none
  const OriginalId* names;
  const std::uint32_t* weight_sums;
  const std::uint32_t* positive_edges;

  __device__ std::uint32_t node(std::int64_t i) const { return value(destinations[i]); }
  __device__ std::uint32_t degree(std::uint32_t node) const {
    return static_cast<std::uint32_t>(indptr[node + std::size_t{1}] - indptr[node]);
  }
  /// Of samplers whose counts are known beforehand.
  __device__ std::uint32_t number_drawn(std::uint32_t node) const {
    return sample_size(sampler == Sampler::kWeighted ? positive_edges[node] : degree(node), fanout);
  }
  __device__ GlobalId neighbor(std::int64_t edge) const {
    return indices32 == nullptr ? GlobalId{indices64[edge]} : GlobalId{indices32[edge]};
  }
};

Draws draws_of(const SampleNeighborsArgs& args) {
  const TopologyView& topology = args.topology;
  return {.destinations = args.destinations.data(),
          .count = static_cast<std::int64_t>(args.destinations.size()),
          .fanout = args.fanout,
          .key = args.key,
          .sampler = args.sampler.sampler,
          .indptr = topology.indptr.data(),
          .indices32 = data_or_null(topology.indices32),
          .indices64 = data_or_null(topology.indices64),
          .original_ids = topology.original_ids.data(),
          .edge_weights = data_or_null(topology.edge_weights),
          .names = data_or_null(args.sampler.names),
          .weight_sums = data_or_null(args.sampler.weight_sums),
          .positive_edges = data_or_null(args.sampler.positive_edges)};
}

/// Where the edges of each destination stand: (count + 1) offsets, as the prefix sum leaves them.
using Offsets = const std::uint64_t*;

/// The edges drawn; weights null: none.
struct Drawn {
  GlobalId* neighbors;
  float* weights;
};

__device__ void take(const Draws& draws, std::int64_t edge, std::uint64_t place,
                     const Drawn& drawn) {
  drawn.neighbors[place] = draws.neighbor(edge);
  if (drawn.weights != nullptr) drawn.weights[place] = draws.edge_weights[edge];
}

__global__ void count_drawn(Draws draws, std::uint64_t* counts) {
  const std::int64_t i = index_of_thread();
  if (i < draws.count) counts[i] = draws.number_drawn(draws.node(i));
  if (i == draws.count) counts[i] = 0;  // its prefix sum is the total
}

__global__ void narrow_offsets(Offsets offsets, std::int64_t count, RowIndex* indptr) {
  const std::int64_t i = index_of_thread();
  if (i < count) indptr[i] = static_cast<RowIndex>(offsets[i]);
}

/// Positions in its neighbour list, ascending, of a destination that does not take all.
__global__ void draw_positions(Draws draws, Offsets offsets, std::uint32_t* positions) {
  const std::int64_t i = index_of_thread();
  if (i >= draws.count) return;
  const std::uint32_t node = draws.node(i), degree = draws.degree(node);
  const auto count = static_cast<std::uint32_t>(offsets[i + 1] - offsets[i]);
  if (count == degree) return;
  const OriginalId name = draws.original_ids[node];
  std::uint32_t* const out = positions + offsets[i];
  if (draws.sampler == Sampler::kWeighted) {
    weighted_positions({draws.weight_sums + draws.indptr[node], degree}, draws.positive_edges[node],
                       count, draws.key, name, out);
  } else {
    NodeDraws words(draws.key, name);
    floyd_by_list(degree, count, words, out);
  }
}

__global__ void take_positions(Draws draws, Offsets offsets, const std::uint32_t* positions,
                               Drawn drawn) {
  const std::int64_t i = index_of_thread() / kLanes;
  if (i >= draws.count) return;
  const std::uint32_t node = draws.node(i);
  const std::int64_t begin = draws.indptr[node];
  const std::uint64_t first = offsets[i], count = offsets[i + 1] - first;
  const bool all = count == draws.degree(node);
  for (std::uint64_t e = threadIdx.x % kLanes; e < count; e += kLanes) {
    const std::int64_t position = static_cast<std::int64_t>(all ? e : positions[first + e]);
    take(draws, begin + position, first + e, drawn);
  }
}

/// Calls body(edge, its number among those that LABOR keeps) of destination i in the lanes that
/// have one; returns how many are kept. All lanes of a warp call it.
template <class Body>
__device__ std::uint32_t for_kept_edges(const Draws& draws, std::int64_t i, Body body) {
  const std::uint32_t node = draws.node(i), degree = draws.degree(node);
  const std::int64_t begin = draws.indptr[node];
  const unsigned lane = threadIdx.x % kWarp, before = (1u << lane) - 1;
  const bool all = draws.fanout >= static_cast<std::int64_t>(degree);
  std::uint32_t kept = 0;
  for (std::uint32_t first = 0; first < degree; first += kWarp) {
    const std::int64_t edge = begin + first + lane;
    bool keeps = first + lane < degree;
    if (keeps && !all) {
      const OriginalId source = draws.names[value(draws.neighbor(edge))];
      keeps = labor_keeps(labor_variate(draws.key, source), draws.fanout, degree);
    }
    const unsigned keepers = __ballot_sync(kAllLanes, keeps);
    if (keeps) body(edge, kept + static_cast<std::uint32_t>(__popc(keepers & before)));
    kept += static_cast<std::uint32_t>(__popc(keepers));
  }
  return kept;
}

__global__ void count_kept(Draws draws, std::uint64_t* counts) {
  const std::int64_t i = index_of_thread() / kWarp;
  if (i > draws.count) return;
  const std::uint32_t kept =
      i < draws.count ? for_kept_edges(draws, i, [](std::int64_t, std::uint32_t) {}) : 0;
  if (threadIdx.x % kWarp == 0) counts[i] = kept;
}

__global__ void take_kept(Draws draws, Offsets offsets, Drawn drawn) {
  const std::int64_t i = index_of_thread() / kWarp;
  if (i >= draws.count) return;
  for_kept_edges(draws, i, [&](std::int64_t edge, std::uint32_t number) {
    take(draws, edge, offsets[i] + number, drawn);
  });
}

/// Room for so many edges is taken without knowing whether there are as many: 12 bytes each.
constexpr std::uint64_t kMostRoom = std::uint64_t{1} << 25;

/// More than which a destination cannot draw; nothing where only its list says.
std::optional<std::uint64_t> bound_on_edges(const Draws& draws) {
  if (draws.sampler == Sampler::kLabor || draws.fanout < 0) return std::nullopt;
  const std::uint64_t bound =
      static_cast<std::uint64_t>(draws.count) * static_cast<std::uint64_t>(draws.fanout);
  if (bound > kMostRoom) return std::nullopt;
  return bound;
}

/// Makes the offsets the prefix sum of the counts that they hold, and room for all edges: for
/// `bound`, or as many as there are.
void make_room(CountedDraws& made, std::optional<std::uint64_t> bound, bool weighted,
               const Queue& queue) {
  Buffer<std::uint64_t>& offsets = made.offsets;
  exclusive_sum(offsets.data(), offsets.data(), offsets.size(), queue);
  made.known = !bound;
  const std::uint64_t edges =
      bound ? *bound : queue.memory.read(made.count(), 1, queue.stream).front();
  check_edges(edges);
  SampledNeighbors& drawn = made.drawn;
  drawn.indptr = Buffer<RowIndex>(queue.memory, offsets.size());
  drawn.neighbors = Buffer<GlobalId>(queue.memory, edges);
  if (weighted) drawn.weights = Buffer<float>(queue.memory, edges);
  const auto count = static_cast<std::int64_t>(offsets.size());
  narrow_offsets<<<blocks_for(count), kBlock, 0, queue.raw()>>>(offsets.data(), count,
                                                                drawn.indptr.data());
  check_launch("narrow_offsets");
}

void sample_by_labor(const Draws& draws, CountedDraws& made, const Queue& queue) {
  Buffer<std::uint64_t>& offsets = made.offsets;
  count_kept<<<blocks_for((draws.count + 1) * kWarp), kBlock, 0, queue.raw()>>>(draws,
                                                                                offsets.data());
  check_launch("count_kept");
  make_room(made, std::nullopt, draws.edge_weights != nullptr, queue);
  if (draws.count == 0) return;
  take_kept<<<blocks_for(draws.count * kWarp), kBlock, 0, queue.raw()>>>(
      draws, offsets.data(), {made.drawn.neighbors.data(), made.drawn.weights.data()});
  check_launch("take_kept");
}

void sample_by_position(const Draws& draws, std::optional<std::uint64_t> bound, CountedDraws& made,
                        const Queue& queue) {
  Buffer<std::uint64_t>& offsets = made.offsets;
  count_drawn<<<blocks_for(draws.count + 1), kBlock, 0, queue.raw()>>>(draws, offsets.data());
  check_launch("count_drawn");
  make_room(made, bound, draws.edge_weights != nullptr, queue);
  if (draws.count == 0) return;
  SampledNeighbors& result = made.drawn;
  Buffer<std::uint32_t> positions(queue.memory, result.neighbors.size());
  draw_positions<<<blocks_for(draws.count), kBlock, 0, queue.raw()>>>(draws, offsets.data(),
                                                                      positions.data());
  check_launch("draw_positions");
  take_positions<<<blocks_for(draws.count * kLanes), kBlock, 0, queue.raw()>>>(
      draws, offsets.data(), positions.data(), {result.neighbors.data(), result.weights.data()});
  check_launch("take_positions");
}

/// `bound`: whether room is made for a bound, where there is one.
CountedDraws draw(const SampleNeighborsArgs& args, bool bound, const Queue& queue) {
  CountedDraws made;
  made.offsets = Buffer<std::uint64_t>(queue.memory, args.destinations.size() + 1);
  const Draws draws = draws_of(args);
  if (args.sampler.sampler == Sampler::kLabor && args.fanout >= 0) {
    sample_by_labor(draws, made, queue);
  } else {
    sample_by_position(draws, bound ? bound_on_edges(draws) : std::nullopt, made, queue);
  }
  return made;
}

}  // namespace

void check_edges(std::uint64_t edges) {
  if (edges <= std::numeric_limits<RowIndex>::max()) return;
  throw UsageError("a mini-batch samples more than 2^32 edges on one worker",
                   "use a smaller --batch-size or --fanout, or more workers");
}

CountedDraws draw_neighbors(const SampleNeighborsArgs& args, const Queue& queue) {
  return draw(args, true, queue);
}

SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, const Queue& queue) {
  return draw(args, false, queue).drawn;
}

}  // namespace gsplit::cuda
