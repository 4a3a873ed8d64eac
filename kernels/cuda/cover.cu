// Covers of bipartite graphs by the rules of kernels/base/cover.h: a thread block a part, so that
// rounds end with a barrier of the block and the host waits for none. The threads of a round write
// flags, counts and the two lists; only the order inside the lists depends on the schedule, and no
// result on that.
#include "kernels/base/cover.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sampling.h"

namespace gsplit::cuda {
namespace {

using cover_rules::Graph;

constexpr int kThreads = 512;
constexpr RowIndex kNone = ~RowIndex{0};

/// Where a part's nodes are, in arrays over (lefts, rights).
struct Nodes {
  std::uint32_t* taken;  // 1: in the cover
  RowIndex* degree;      // edges left; of the matching: a left's next edge, a right's winner
  RowIndex* single;      // list of nodes that have come to one edge; of the matching: 1, matched
  RowIndex* fresh;       // list of nodes taken
};

/// What the threads of a block share.
struct Shared {
  unsigned single_end;
  unsigned fresh_end;
  unsigned peels;
  RowIndex largest;
  unsigned counts[3];
};

/// A node comes to one edge once, and is taken once, so each list has room for all of a part's.
class PartCover {
 public:
  __device__ PartCover(const Graph& graph, const BipartitePart& part, const Nodes& nodes,
                       Shared& shared)
      : graph_(graph), part_(part), nodes_(nodes), shared_(shared) {
    const RowIndex first = part.left_begin + part.right_begin;
    single_ = nodes.single + first;
    fresh_ = nodes.fresh + first;
  }

  __device__ void run() {
    count_degrees();
    peel();
    for (RowIndex least = shared_.largest; least >= cover_rules::kLastThreshold;
         least = cover_rules::next_threshold(least)) {
      for (int side = 0; side < 2; ++side) {
        for_side(side, [&](RowIndex node) {
          if (nodes_.taken[node] == 0 && nodes_.degree[node] >= least) take(node);
        });
        remove_edges();
        peel();
      }
    }
    drop_redundant();
    take_smaller_side();
    if (size() > 2 * shared_.peels) take_matched_nodes();
  }

 private:
  /// Side 0 has the lefts. Ends with a barrier, so that a side's round is over.
  template <class F>
  __device__ void for_side(int side, F&& body) const {
    const RowIndex begin = side == 0 ? part_.left_begin : graph_.num_lefts + part_.right_begin;
    const RowIndex end = side == 0 ? part_.left_end : graph_.num_lefts + part_.right_end;
    for (RowIndex node = begin + threadIdx.x; node < end; node += kThreads) body(node);
    __syncthreads();
  }
  template <class F>
  __device__ void for_nodes(F&& body) const {
    for_side(0, body);
    for_side(1, body);
  }

  __device__ void zero(unsigned& counter) const {
    __syncthreads();
    if (threadIdx.x == 0) counter = 0;
    __syncthreads();
  }

  __device__ void count_degrees() {
    if (threadIdx.x == 0) shared_ = {};
    __syncthreads();
    for_nodes([&](RowIndex node) {
      const RowIndex degree = graph_.degree(node);
      nodes_.degree[node] = degree;
      nodes_.taken[node] = 0;
      atomicMax(&shared_.largest, degree);
      if (degree == 1) single_[atomicAdd(&shared_.single_end, 1u)] = node;
    });
  }

  __device__ void take(RowIndex node) {
    if (atomicExch(&nodes_.taken[node], 1u) == 0) fresh_[atomicAdd(&shared_.fresh_end, 1u)] = node;
  }

  /// Ends a round: the edges of what it has taken go.
  __device__ void remove_edges() {
    const unsigned end = shared_.fresh_end;
    for (unsigned i = fresh_begin_ + threadIdx.x; i < end; i += kThreads) {
      const RowIndex node = fresh_[i];
      for (RowIndex e = graph_.begin(node); e < graph_.end(node); ++e) {
        const RowIndex neighbor = graph_.neighbor(node, e);
        if (nodes_.taken[neighbor] != 0) continue;
        if (atomicSub(&nodes_.degree[neighbor], 1u) == 2) {
          single_[atomicAdd(&shared_.single_end, 1u)] = neighbor;
        }
      }
    }
    fresh_begin_ = end;
    __syncthreads();
  }

  __device__ void peel() {
    while (single_begin_ < shared_.single_end) {
      const unsigned end = shared_.single_end, taken = fresh_begin_;
      for (unsigned i = single_begin_ + threadIdx.x; i < end; i += kThreads) {
        take_neighbor_of(single_[i]);
      }
      single_begin_ = end;
      __syncthreads();
      if (threadIdx.x == 0) shared_.peels += shared_.fresh_end - taken;
      remove_edges();
    }
  }

  /// What another thread has just taken is the only neighbour or none of this node's.
  __device__ void take_neighbor_of(RowIndex node) {
    if (nodes_.taken[node] != 0 || nodes_.degree[node] != 1) return;
    for (RowIndex e = graph_.begin(node); e < graph_.end(node); ++e) {
      const RowIndex neighbor = graph_.neighbor(node, e);
      if (nodes_.taken[neighbor] != 0) continue;
      if (nodes_.degree[neighbor] == 1 && graph_.is_left(neighbor)) continue;
      take(neighbor);
    }
  }

  __device__ void drop_redundant() {
    for_nodes([&](RowIndex node) {
      if (nodes_.taken[node] == 0) return;
      for (RowIndex e = graph_.begin(node); e < graph_.end(node); ++e) {
        if (nodes_.taken[graph_.neighbor(node, e)] == 0) return;
      }
      nodes_.taken[node] = 0;
    });
  }

  __device__ unsigned size() {
    zero(shared_.counts[0]);
    for_nodes([&](RowIndex node) {
      if (nodes_.taken[node] != 0) atomicAdd(&shared_.counts[0], 1u);
    });
    return shared_.counts[0];
  }

  __device__ void take_smaller_side() {
    const unsigned taken = size();
    zero(shared_.counts[1]);
    zero(shared_.counts[2]);
    for_nodes([&](RowIndex node) {
      if (graph_.degree(node) > 0) atomicAdd(&shared_.counts[graph_.is_left(node) ? 1 : 2], 1u);
    });
    const unsigned lefts = shared_.counts[1], rights = shared_.counts[2];
    if (taken <= min(lefts, rights)) return;
    for_nodes([&](RowIndex node) {
      nodes_.taken[node] =
          graph_.degree(node) > 0 && graph_.is_left(node) == (lefts < rights) ? 1 : 0;
    });
  }

  __device__ void take_matched_nodes() {
    const unsigned taken = size();
    match();
    zero(shared_.counts[1]);
    for_nodes([&](RowIndex node) {
      if (is_matched(node)) atomicAdd(&shared_.counts[1], 1u);
    });
    if (taken <= shared_.counts[1]) return;
    for_nodes([&](RowIndex node) { nodes_.taken[node] = is_matched(node) ? 1 : 0; });
    drop_redundant();
  }

  /// The list of single nodes has done its work.
  __device__ bool is_matched(RowIndex node) const { return nodes_.single[node] != 0; }

  __device__ void match() {
    for_nodes([&](RowIndex node) {
      nodes_.single[node] = 0;
      nodes_.degree[node] = graph_.is_left(node) ? graph_.begin(node) : kNone;
    });
    do {
      zero(shared_.counts[2]);
      ask();
      answer();
    } while (shared_.counts[2] > 0);
  }

  __device__ void ask() {
    for_side(0, [&](RowIndex left) {
      if (is_matched(left)) return;
      RowIndex& edge = nodes_.degree[left];
      while (edge < graph_.end(left) && is_matched(graph_.neighbor(left, edge))) ++edge;
      if (edge == graph_.end(left)) return;
      atomicMin(&nodes_.degree[graph_.neighbor(left, edge)], left);
      atomicAdd(&shared_.counts[2], 1u);
    });
  }

  __device__ void answer() {
    for_side(0, [&](RowIndex left) {
      const RowIndex edge = nodes_.degree[left];
      if (is_matched(left) || edge == graph_.end(left)) return;
      const RowIndex right = graph_.neighbor(left, edge);
      if (nodes_.degree[right] != left) return;
      nodes_.single[left] = 1;
      nodes_.single[right] = 1;
    });
  }

  const Graph& graph_;
  const BipartitePart& part_;
  const Nodes& nodes_;
  Shared& shared_;
  RowIndex* single_;
  RowIndex* fresh_;
  unsigned single_begin_ = 0;  // what peel() has not seen of its list
  unsigned fresh_begin_ = 0;   // whose edges are there yet
};

__global__ void __launch_bounds__(kThreads)
    cover_parts(Graph graph, const BipartitePart* parts, Nodes nodes) {
  __shared__ Shared shared;
  PartCover(graph, parts[blockIdx.x], nodes, shared).run();
}

}  // namespace

CoveredNodes cover(const CoverArgs& args, const Queue& queue) {
  const std::size_t num_lefts = args.left_offsets.size() - 1;
  const std::size_t num_rights = args.right_offsets.size() - 1;
  const std::size_t num_nodes = num_lefts + num_rights;
  Buffer<std::uint32_t> taken(queue.memory, num_nodes);
  queue.memory.fill_zero(taken.data(), taken.size() * sizeof(std::uint32_t), queue.stream);
  if (!args.parts.empty()) {
    Buffer<BipartitePart> parts(queue.memory, args.parts.size());
    queue.memory.copy(parts.data(), args.parts.data(), args.parts.size_bytes(), queue.stream);
    Buffer<RowIndex> degree(queue.memory, num_nodes), single(queue.memory, num_nodes),
        fresh(queue.memory, num_nodes);
    const Graph graph{args.left_offsets.data(), args.rights.data(), args.right_offsets.data(),
                      args.lefts.data(), static_cast<RowIndex>(num_lefts)};
    cover_parts<<<static_cast<unsigned>(args.parts.size()), kThreads, 0, queue.raw()>>>(
        graph, parts.data(), {taken.data(), degree.data(), single.data(), fresh.data()});
    check_launch("cover_parts");
  }
  CoveredNodes covered{{queue.memory, num_lefts}, {queue.memory, num_rights}};
  queue.memory.copy(covered.lefts.data(), taken.data(), covered.lefts.size() * sizeof(RowIndex),
                    queue.stream);
  queue.memory.copy(covered.rights.data(), taken.data() + num_lefts,
                    covered.rights.size() * sizeof(RowIndex), queue.stream);
  return covered;
}

}  // namespace gsplit::cuda
