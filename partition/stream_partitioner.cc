#include "partition/stream_partitioner.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <optional>

#include "kernels/base/error.h"
#include "partition/node_clusters.h"
#include "partition/node_loads.h"
#include "partition/simple_partitioners.h"
#include "partition/unit_graph.h"

namespace gsplit {
namespace {

/// A cluster holds at most 1/16 of a part: METIS then finds a balanced partition, and communities
/// of that size are found whole.
constexpr int kClustersAPart = 16;
/// Limits of the passes over nodes, as multiples of the tolerated ones: room to move in at first,
/// paid back later.
constexpr double kSlack[] = {1.05, 1, 1};

/// For every node, the weight of its out-edges into each part. Weights are added modulo 2^32.
class OutWeights {
 public:
  OutWeights(std::uint64_t nodes, std::size_t parts) : parts_(parts), weights_(nodes * parts, 0) {}

  std::span<const std::uint32_t> of(std::uint64_t u) const {
    return std::span(weights_).subspan(u * parts_, parts_);
  }
  /// Safe for several threads: integers add up to the same in any order.
  void add(std::uint64_t u, std::size_t part, std::uint32_t weight) {
    std::atomic_ref<std::uint32_t>(weights_[u * parts_ + part])
        .fetch_add(weight, std::memory_order_relaxed);
  }

 private:
  std::size_t parts_;
  std::vector<std::uint32_t> weights_;  // (num_nodes, parts)
};

/// The parts of all nodes while they are improved.
class Restreamer {
 public:
  static constexpr std::size_t kMaxTableParts = 16;

  /// `parts`: (num_nodes) where to start. Keeps references; `out` is read where there are more than
  /// kMaxTableParts parts.
  Restreamer(const WeightedGraph& graph, const OutSample* out, const NodeLoads& loads,
             Assignment parts, const StreamOptions& options);

  /// Moves nodes out of parts above their limits, those first that cut least for what they relieve.
  void relieve();
  /// One pass over all nodes: each moves to the part that most of its edges lead to and has room.
  void restream();

  void set_limits(std::vector<std::uint64_t> limits) { part_loads_.set_limits(std::move(limits)); }
  Assignment take() { return std::move(part_); }

 private:
  struct Exit {
    double loss;  // weight of the edges cut anew / load relieved
    std::uint32_t node;
  };

  bool exact() const { return parts_ <= kMaxTableParts; }
  std::span<const std::int64_t> weights_to_parts(std::uint64_t v) const;
  std::size_t best_part(std::uint64_t v) const;
  std::size_t best_exit(std::uint64_t v) const;
  std::vector<Exit> exits() const;
  void count_in_edges(std::uint64_t v, std::size_t part, bool leaves);
  void move(std::uint64_t v, std::size_t target);
  void take_load(std::uint64_t v, std::size_t target);

  const WeightedGraph& graph_;
  const OutSample* out_;
  const NodeLoads& loads_;
  const StreamOptions& options_;
  std::size_t parts_;
  GroupLoads part_loads_;
  Assignment part_;  // (num_nodes)
  OutWeights table_;
};

Restreamer::Restreamer(const WeightedGraph& graph, const OutSample* out, const NodeLoads& loads,
                       Assignment parts, const StreamOptions& options)
    : graph_(graph),
      out_(out),
      loads_(loads),
      options_(options),
      parts_(static_cast<std::size_t>(options.parts)),
      part_loads_(parts_, part_limits(loads, graph.csc.num_nodes(), options.parts)),
      part_(std::move(parts)),
      table_(exact() ? graph.csc.num_nodes() : 0, parts_) {
  for (std::size_t v = 0; v < part_.size(); ++v) part_loads_.add(part_[v], loads.wide(v));
#pragma omp parallel for num_threads(options.threads) schedule(dynamic, 64)
  for (std::size_t v = 0; v < part_.size(); ++v) count_in_edges(v, part_[v], false);
}

/// Adds v's in-edges to the table, or takes them out of it.
void Restreamer::count_in_edges(std::uint64_t v, std::size_t part, bool leaves) {
  if (!exact()) return;
  graph_.for_each_in(v, [&](std::uint64_t u, std::uint32_t weight) {
    table_.add(u, part, leaves ? 0u - weight : weight);
  });
}

/// Safe for several threads, for different nodes.
void Restreamer::move(std::uint64_t v, std::size_t target) {
  count_in_edges(v, part_[v], true);
  part_[v] = static_cast<PartId>(target);
  count_in_edges(v, target, false);
}

void Restreamer::take_load(std::uint64_t v, std::size_t target) {
  part_loads_.remove(part_[v], loads_.wide(v));
  part_loads_.add(target, loads_.wide(v));
}

/// (parts) weight of the edges, of both directions, between v and each part. Valid until the
/// thread's next call.
std::span<const std::int64_t> Restreamer::weights_to_parts(std::uint64_t v) const {
  static thread_local std::vector<std::int64_t> weights;
  weights.assign(parts_, 0);
  const auto count = [&](std::uint64_t u, std::uint32_t weight) { weights[part_[u]] += weight; };
  graph_.for_each_in(v, count);
  if (exact()) {
    const std::span<const std::uint32_t> row = table_.of(v);
    for (std::size_t p = 0; p < parts_; ++p) weights[p] += row[p];
  } else {
    out_->for_each_out(v, count);
  }
  return weights;
}

std::size_t Restreamer::best_part(std::uint64_t v) const {
  const std::span<const std::int64_t> weights = weights_to_parts(v);
  std::size_t best = part_[v];
  for (std::size_t p = 0; p < parts_; ++p) {
    if (weights[p] > weights[best] && part_loads_.fits(p, loads_.wide(v))) best = p;
  }
  return best;
}

void Restreamer::restream() {
  const std::size_t nodes = part_.size(), batch = batch_of_nodes(nodes);
  const ScatteredOrder order(nodes, options_.seed);
  std::vector<std::size_t> targets(batch);
  std::vector<std::pair<std::uint64_t, std::size_t>> moves;  // node, part
  for (std::size_t begin = 0; begin < nodes; begin += batch) {
    const std::size_t size = std::min(batch, nodes - begin);
#pragma omp parallel for num_threads(options_.threads) schedule(dynamic, 16)
    for (std::size_t i = 0; i < size; ++i) targets[i] = best_part(order(begin + i));
    moves.clear();
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint64_t v = order(begin + i);
      if (part_[v] == targets[i] || !part_loads_.fits(targets[i], loads_.wide(v))) continue;
      take_load(v, targets[i]);
      moves.emplace_back(v, targets[i]);
    }
#pragma omp parallel for num_threads(options_.threads) schedule(dynamic, 16)
    for (std::size_t i = 0; i < moves.size(); ++i) move(moves[i].first, moves[i].second);
  }
}

/// The nodes of parts above their limits, best first. Whether another part has room is seen later.
std::vector<Restreamer::Exit> Restreamer::exits() const {
  std::vector<Exit> exits;
  for (std::size_t v = 0; v < part_.size(); ++v) {
    if (part_loads_.relief(part_[v], loads_.wide(v)) > 0) {
      exits.push_back({0, static_cast<std::uint32_t>(v)});
    }
  }
#pragma omp parallel for num_threads(options_.threads) schedule(dynamic, 64)
  for (std::size_t i = 0; i < exits.size(); ++i) {
    const std::uint64_t v = exits[i].node;
    const std::span<const std::int64_t> weights = weights_to_parts(v);
    std::int64_t most = 0;
    for (std::size_t p = 0; p < parts_; ++p) {
      if (p != part_[v]) most = std::max(most, weights[p]);
    }
    exits[i].loss = static_cast<double>(weights[part_[v]] - most) /
                    part_loads_.relief(part_[v], loads_.wide(v));
  }
  std::sort(exits.begin(), exits.end(), [](const Exit& a, const Exit& b) {
    return a.loss != b.loss ? a.loss < b.loss : a.node < b.node;
  });
  return exits;
}

/// The part to which v's edges lead of those that have room or would be less full than its own is;
/// its own if there is none.
std::size_t Restreamer::best_exit(std::uint64_t v) const {
  const std::size_t own = part_[v];
  const auto load = loads_.wide(v);
  const std::span<const std::int64_t> weights = weights_to_parts(v);
  std::size_t best = own;
  for (std::size_t p = 0; p < parts_; ++p) {
    const bool room =
        part_loads_.fits(p, load) || part_loads_.fill_with(p, load) < part_loads_.fill(own);
    if (p != own && room && (best == own || weights[p] > weights[best])) best = p;
  }
  return best;
}

void Restreamer::relieve() {
  for (const Exit& exit : exits()) {
    const std::uint64_t v = exit.node;
    if (part_loads_.relief(part_[v], loads_.wide(v)) == 0) continue;  // others have done it
    const std::size_t target = best_exit(v);
    if (target == part_[v]) continue;
    take_load(v, target);
    move(v, target);
  }
}

/// Steps 1 and 2 of the header.
Assignment first_parts(const WeightedGraph& graph, const OutSample& out, const NodeLoads& loads,
                       const StreamOptions& options) {
  const std::uint64_t nodes = graph.csc.num_nodes();
  ClusterOptions cluster{
      .limits = total_loads(loads, nodes), .seed = options.seed, .threads = options.threads};
  for (std::uint64_t& limit : cluster.limits) {
    const auto clusters = static_cast<std::uint64_t>(options.parts * kClustersAPart);
    limit = (limit + clusters - 1) / clusters;
  }
  const NodeUnits units = make_units(cluster_nodes(graph, out, loads, cluster), loads);
  const Assignment of_units = partition_units(make_unit_graph(graph, units, options.threads), units,
                                              part_limits(loads, nodes, options.parts),
                                              {.parts = options.parts, .seed = options.seed});
  Assignment parts(nodes);
  std::transform(units.labels.begin(), units.labels.end(), parts.begin(),
                 [&](std::uint32_t unit) { return of_units[unit]; });
  return parts;
}

}  // namespace

Assignment stream_partition(const CscView& csc, const PresampleCounts& counts,
                            const StreamOptions& options) {
  GSPLIT_CHECK(options.parts > 1);
  const std::uint64_t nodes = csc.num_nodes();
  check_part_count(options.parts, nodes);
  if (nodes >= std::numeric_limits<std::uint32_t>::max()) {
    throw UsageError(fmt::format("{} nodes are too many for the stream partitioner", nodes),
                     "choose --partition random or range");
  }
  if (csc.num_edges() == 0 ||
      nodes < kLeastNodesPerPart * static_cast<std::size_t>(options.parts)) {
    return range_partition(csc, options.parts);
  }
  const WeightedGraph graph{csc, counts.edge_samples};
  const NodeLoads loads(counts, options.parts);
  std::optional<OutSample> out(std::in_place, graph, options.seed, options.threads);
  Assignment first = first_parts(graph, *out, loads, options);
  if (options.parts <= static_cast<int>(Restreamer::kMaxTableParts)) out.reset();
  Restreamer restreamer(graph, out ? &*out : nullptr, loads, std::move(first), options);
  for (const double slack : kSlack) {
    restreamer.set_limits(part_limits(loads, nodes, options.parts, slack));
    restreamer.relieve();
    restreamer.restream();
  }
  Assignment assignment = restreamer.take();
  repair_empty_parts(assignment, options.parts);
  return assignment;
}

}  // namespace gsplit
