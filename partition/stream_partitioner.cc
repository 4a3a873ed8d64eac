#include "partition/stream_partitioner.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"
#include "partition/node_clusters.h"
#include "partition/node_loads.h"
#include "partition/simple_partitioners.h"
#include "partition/unit_graph.h"

namespace gsplit {
namespace {

/// A cluster of the first level holds at most 1/64 of a part, one of the second 1/8: small clusters
/// cut more on web graphs, large ones leave no balanced start.
constexpr double kClustersAPart[] = {64, 8};
constexpr int kNodePasses = 3, kMergePasses = 2;  ///< of label propagation
constexpr int kTrials = 16;                       ///< of the start
/// Limits of the passes over nodes, as multiples of the tolerated ones: room to move in at first,
/// paid back later.
constexpr double kNodeSlack[] = {1.1, 1.05, 1, 1};

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

/// The parts of all nodes while they are improved. Units are NodeUnits or SingleNodes, whose
/// members lie in one part.
class Restreamer {
 public:
  static constexpr int kMaxTableParts = 16;

  /// `parts`: (units) where the units start. Keeps references.
  Restreamer(const WeightedGraph& graph, const OutSample& out, const NodeLoads& loads,
             const NodeUnits& units, std::span<const PartId> parts, const StreamOptions& options);

  /// Moves units out of parts above their limits, those first that cut least for what they relieve.
  template <class Units>
  void relieve(const Units& units);
  /// One pass over all units: each moves to the part that most of its edges lead to and has room.
  template <class Units>
  void restream(const Units& units);

  void set_limits(std::vector<std::uint64_t> limits) { loads_.set_limits(std::move(limits)); }
  Assignment take() { return std::move(part_); }

 private:
  struct Exit {
    double loss;  // weight of the edges cut anew / load relieved
    std::uint32_t unit;
  };

  bool exact() const { return parts_ <= kMaxTableParts; }
  template <class Units>
  std::size_t part_of(const Units& units, std::size_t unit) const {
    return part_[units.of(unit).front()];
  }
  template <class Units>
  std::vector<std::int64_t> weights_to_parts(const Units& units, std::size_t unit) const;
  template <class Units>
  std::size_t best_part(const Units& units, std::size_t unit) const;
  template <class Units>
  std::vector<Exit> exits(const Units& units) const;
  template <class Units>
  std::size_t best_exit(const Units& units, std::size_t unit) const;
  void place(std::uint64_t v, std::size_t target);

  const WeightedGraph& graph_;
  const OutSample& out_;
  const StreamOptions& options_;
  std::size_t parts_;
  GroupLoads loads_;
  Assignment part_;  // parts_ where there is none yet
  OutWeights table_;
};

Restreamer::Restreamer(const WeightedGraph& graph, const OutSample& out, const NodeLoads& loads,
                       const NodeUnits& units, std::span<const PartId> parts,
                       const StreamOptions& options)
    : graph_(graph),
      out_(out),
      options_(options),
      parts_(static_cast<std::size_t>(options.parts)),
      loads_(parts_, part_limits(loads, graph.csc.num_nodes(), options.parts)),
      part_(graph.csc.num_nodes(), static_cast<PartId>(options.parts)),
      table_(exact() ? graph.csc.num_nodes() : 0, parts_) {
  for (std::size_t unit = 0; unit < units.size(); ++unit) loads_.add(parts[unit], units.load(unit));
#pragma omp parallel for num_threads(options.threads) schedule(dynamic, 64)
  for (std::size_t v = 0; v < part_.size(); ++v) place(v, parts[units.unit_of(v)]);
}

void Restreamer::place(std::uint64_t v, std::size_t target) {
  const std::size_t source = part_[v];
  part_[v] = static_cast<PartId>(target);
  if (!exact()) return;
  graph_.for_each_in(v, [&](std::uint64_t u, std::uint32_t weight) {
    if (source < parts_) table_.add(u, source, 0u - weight);
    table_.add(u, target, weight);
  });
}

/// (parts) weight of the edges, of both directions, between the unit and the rest of each part.
template <class Units>
std::vector<std::int64_t> Restreamer::weights_to_parts(const Units& units, std::size_t unit) const {
  std::vector<std::int64_t> weights(parts_, 0);
  std::int64_t inside = 0;
  const auto count = [&](std::uint64_t u, std::int64_t weight) {
    if (units.unit_of(u) == unit) {
      inside += weight;
    } else {
      weights[part_[u]] += weight;
    }
  };
  for (const std::uint32_t v : units.of(unit)) {
    graph_.for_each_in(v, count);
    if (exact()) {
      const std::span<const std::uint32_t> row = table_.of(v);
      for (std::size_t p = 0; p < parts_; ++p) weights[p] += row[p];
    } else {
      out_.for_each_out(v, count);
    }
  }
  // The table counts the edges inside, which move along.
  if (exact()) weights[part_of(units, unit)] -= inside;
  return weights;
}

template <class Units>
std::size_t Restreamer::best_part(const Units& units, std::size_t unit) const {
  const std::vector<std::int64_t> weights = weights_to_parts(units, unit);
  std::size_t best = part_of(units, unit);
  for (std::size_t p = 0; p < parts_; ++p) {
    if (weights[p] > weights[best] && loads_.fits(p, units.load(unit))) best = p;
  }
  return best;
}

template <class Units>
void Restreamer::restream(const Units& units) {
  const std::size_t batch = batch_of_units(units.size());
  const ScatteredOrder order(units.size(), options_.seed);
  std::vector<std::size_t> targets(batch);
  std::vector<std::pair<std::uint64_t, std::size_t>> moved;  // node, part
  for (std::size_t begin = 0; begin < units.size(); begin += batch) {
    const std::size_t size = std::min(batch, units.size() - begin);
#pragma omp parallel for num_threads(options_.threads) schedule(dynamic, 16)
    for (std::size_t i = 0; i < size; ++i) targets[i] = best_part(units, order(begin + i));
    moved.clear();
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t unit = order(begin + i), source = part_of(units, unit);
      const auto& load = units.load(unit);
      if (source == targets[i] || !loads_.fits(targets[i], load)) continue;
      loads_.remove(source, load);
      loads_.add(targets[i], load);
      for (const std::uint32_t v : units.of(unit)) moved.emplace_back(v, targets[i]);
    }
#pragma omp parallel for num_threads(options_.threads) schedule(dynamic, 16)
    for (std::size_t i = 0; i < moved.size(); ++i) place(moved[i].first, moved[i].second);
  }
}

/// The units of parts above their limits, best first. Whether another part has room is seen later.
template <class Units>
std::vector<Restreamer::Exit> Restreamer::exits(const Units& units) const {
  std::vector<Exit> exits;
  for (std::size_t unit = 0; unit < units.size(); ++unit) {
    if (loads_.relief(part_of(units, unit), units.load(unit)) > 0) {
      exits.push_back({0, static_cast<std::uint32_t>(unit)});
    }
  }
#pragma omp parallel for num_threads(options_.threads) schedule(dynamic, 64)
  for (std::size_t i = 0; i < exits.size(); ++i) {
    const std::vector<std::int64_t> weights = weights_to_parts(units, exits[i].unit);
    const std::size_t own = part_of(units, exits[i].unit);
    std::int64_t most = 0;
    for (std::size_t p = 0; p < parts_; ++p) {
      if (p != own) most = std::max(most, weights[p]);
    }
    exits[i].loss =
        static_cast<double>(weights[own] - most) / loads_.relief(own, units.load(exits[i].unit));
  }
  std::sort(exits.begin(), exits.end(), [](const Exit& a, const Exit& b) {
    return a.loss != b.loss ? a.loss < b.loss : a.unit < b.unit;
  });
  return exits;
}

/// The part to which the unit's edges lead of those that have room or would be less full than its
/// own is; its own if there is none.
template <class Units>
std::size_t Restreamer::best_exit(const Units& units, std::size_t unit) const {
  const std::size_t own = part_of(units, unit);
  const auto& load = units.load(unit);
  const std::vector<std::int64_t> weights = weights_to_parts(units, unit);
  std::size_t best = own;
  for (std::size_t p = 0; p < parts_; ++p) {
    const bool room = loads_.fits(p, load) || loads_.fill_with(p, load) < loads_.fill(own);
    if (p != own && room && (best == own || weights[p] > weights[best])) best = p;
  }
  return best;
}

template <class Units>
void Restreamer::relieve(const Units& units) {
  for (const Exit& exit : exits(units)) {
    const std::size_t own = part_of(units, exit.unit);
    if (loads_.relief(own, units.load(exit.unit)) == 0) continue;  // others have done it
    const std::size_t target = best_exit(units, exit.unit);
    if (target == own) continue;
    loads_.remove(own, units.load(exit.unit));
    loads_.add(target, units.load(exit.unit));
    for (const std::uint32_t v : units.of(exit.unit)) place(v, target);
  }
}

/// Step 1 of the header: from small clusters to large ones, each made of smaller ones.
std::vector<NodeUnits> cluster_levels(const WeightedGraph& graph, const OutSample& out,
                                      const NodeLoads& loads, const StreamOptions& options) {
  const std::uint64_t nodes = graph.csc.num_nodes();
  std::vector<NodeUnits> levels;
  for (const double clusters : kClustersAPart) {
    ClusterOptions cluster{.limits = total_loads(loads, nodes),
                           .passes = levels.empty() ? kNodePasses : kMergePasses,
                           .seed = options.seed,
                           .threads = options.threads};
    for (std::uint64_t& limit : cluster.limits) {
      limit = static_cast<std::uint64_t>(
          std::ceil(static_cast<double>(limit) / options.parts / clusters));
    }
    std::vector<std::uint32_t> labels = levels.empty()
                                            ? cluster_nodes(graph, out, loads, cluster)
                                            : merge_units(graph, out, levels.back(), cluster);
    levels.push_back(make_units(std::move(labels), loads));
  }
  return levels;
}

/// Step 2 of the header.
std::vector<PartId> first_parts(const WeightedGraph& graph, const NodeLoads& loads,
                                const NodeUnits& units, const StreamOptions& options) {
  const UnitGraph clusters(graph, units, options.threads);
  return clusters.partition(options.parts, part_limits(loads, graph.csc.num_nodes(), options.parts),
                            kTrials, options.seed);
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
  const OutSample out(graph, options.seed);
  const std::vector<NodeUnits> levels = cluster_levels(graph, out, loads, options);
  const std::vector<PartId> first = first_parts(graph, loads, levels.back(), options);
  Restreamer restreamer(graph, out, loads, levels.back(), first, options);
  const auto set_slack = [&](double slack) {
    restreamer.set_limits(part_limits(loads, nodes, options.parts, slack));
  };
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    restreamer.relieve(*level);
    restreamer.restream(*level);
  }
  const SingleNodes singles(loads, nodes);
  for (const double slack : kNodeSlack) {
    set_slack(slack);
    restreamer.relieve(singles);
    restreamer.restream(singles);
  }
  Assignment assignment = restreamer.take();
  repair_empty_parts(assignment, options.parts);
  return assignment;
}

}  // namespace gsplit
