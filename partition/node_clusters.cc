#include "partition/node_clusters.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "partition/label_weights.h"

namespace gsplit {
namespace {

/// A well mixed hash of two numbers (multiply and fold).
std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = (a + 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u ^ b;
  x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93u;
  return x ^ (x >> 32);
}

class LabelPropagation {
 public:
  LabelPropagation(const WeightedGraph& graph, const OutSample& out, const NodeLoads& loads,
                   const ClusterOptions& options)
      : graph_(graph),
        out_(out),
        loads_(loads),
        options_(options),
        labels_(graph.csc.num_nodes()),
        cluster_loads_(labels_.size(), options.limits) {
    std::iota(labels_.begin(), labels_.end(), 0u);
    for (std::size_t v = 0; v < labels_.size(); ++v) cluster_loads_.add(v, loads.wide(v));
  }

  std::vector<std::uint32_t> run() {
    double last = 1;
    for (int pass = 0; pass < kMaxPasses; ++pass) {
      const double moved =
          static_cast<double>(run_pass(pass)) / static_cast<double>(labels_.size());
      if (pass + 1 >= kMinPasses && (moved < kFewMoves || moved > kNoFewer * last)) break;
      last = moved;
    }
    return std::move(labels_);
  }

 private:
  static constexpr int kMinPasses = 3, kMaxPasses = 12;
  static constexpr double kFewMoves = 0.02, kNoFewer = 0.95;  ///< of the nodes; of the last pass
  /// In-edges looked at in a pass; other passes see others. Most of a row tells little more than a
  /// part of it.
  static constexpr std::int64_t kScanned = 16;
  static constexpr std::size_t kGroup = 16;  ///< nodes whose neighbours are fetched together
  static constexpr std::size_t kAhead = 8;   ///< moves for which loads are fetched beforehand

  struct Vote {
    std::uint32_t neighbor;
    std::uint32_t weight;
  };
  /// What a thread works with: the votes of a group of nodes, and the sum of one node's by label.
  struct Ballot {
    std::vector<Vote> votes;
    std::array<std::size_t, kGroup + 1> offsets{};  // (group + 1) into votes
    LabelWeights weights;
  };

  /// The number of nodes that moved.
  std::size_t run_pass(int pass) {
    const std::size_t nodes = labels_.size(), batch = batch_of_nodes(nodes);
    const ScatteredOrder order(nodes, options_.seed + static_cast<std::uint64_t>(pass));
    std::vector<std::uint32_t> batch_nodes(batch), targets(batch);
    std::size_t moved = 0;
    for (std::size_t begin = 0; begin < nodes; begin += batch) {
      batch_nodes.resize(std::min(batch, nodes - begin));
      for (std::size_t i = 0; i < batch_nodes.size(); ++i) {
        batch_nodes[i] = static_cast<std::uint32_t>(order(begin + i));
      }
      choose(batch_nodes, pass, targets);
      moved += move(batch_nodes, targets);
    }
    return moved;
  }

  void choose(std::span<const std::uint32_t> nodes, int pass,
              std::span<std::uint32_t> targets) const {
    const std::size_t groups = (nodes.size() + kGroup - 1) / kGroup;
#pragma omp parallel num_threads(options_.threads)
    {
      static thread_local Ballot ballot;
#pragma omp for schedule(dynamic, 4)
      for (std::size_t group = 0; group < groups; ++group) {
        const std::size_t first = group * kGroup;
        const auto members = nodes.subspan(first, std::min(kGroup, nodes.size() - first));
        collect_votes(members, pass, ballot);
        for (std::size_t i = 0; i < members.size(); ++i) {
          targets[first + i] = best_label(members[i], i, ballot);
        }
      }
    }
  }

  /// Rows, then labels are fetched for the whole group: one node's would be waited for.
  void collect_votes(std::span<const std::uint32_t> nodes, int pass, Ballot& ballot) const {
    for (const std::uint32_t v : nodes) __builtin_prefetch(&graph_.csc.indptr[v]);
    for (const std::uint32_t v : nodes) graph_.prefetch_in(v);
    ballot.votes.clear();
    const auto add = [&](std::uint64_t neighbor, std::uint32_t weight) {
      __builtin_prefetch(&labels_[neighbor]);
      ballot.votes.push_back({static_cast<std::uint32_t>(neighbor), weight});
    };
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      graph_.for_some_in(nodes[i], kScanned, pass, add);
      out_.for_each_out(nodes[i], add);
      ballot.offsets[i + 1] = ballot.votes.size();
    }
  }

  /// The label that most of the i-th node's votes are for and whose cluster has room for v.
  std::uint32_t best_label(std::uint32_t v, std::size_t i, Ballot& ballot) const {
    ballot.weights.clear();
    for (std::size_t j = ballot.offsets[i]; j < ballot.offsets[i + 1]; ++j) {
      ballot.weights.add(labels_[ballot.votes[j].neighbor], ballot.votes[j].weight);
    }
    const std::uint32_t own = labels_[v];
    std::uint32_t best = own;
    std::uint64_t most = 0;
    ballot.weights.for_each([&](std::uint32_t label, std::uint64_t weight) {
      const bool better =
          weight > most || (weight == most && (label == own || (best != own && label < best)));
      if (!better) return;
      if (label != own && !cluster_loads_.fits(label, loads_.wide(v))) return;
      best = label;
      most = weight;
    });
    return best;
  }

  std::size_t move(std::span<const std::uint32_t> nodes, std::span<const std::uint32_t> targets) {
    std::size_t moved = 0;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::size_t ahead = std::min(i + kAhead, nodes.size() - 1);
      cluster_loads_.prefetch(labels_[nodes[ahead]]);
      cluster_loads_.prefetch(targets[ahead]);
      std::uint32_t& label = labels_[nodes[i]];
      const auto load = loads_.wide(nodes[i]);
      if (targets[i] == label || !cluster_loads_.fits(targets[i], load)) continue;
      cluster_loads_.remove(label, load);
      cluster_loads_.add(targets[i], load);
      label = targets[i];
      ++moved;
    }
    return moved;
  }

  const WeightedGraph& graph_;
  const OutSample& out_;
  const NodeLoads& loads_;
  const ClusterOptions& options_;
  std::vector<std::uint32_t> labels_;  // (num_nodes)
  GroupLoads cluster_loads_;
};

}  // namespace

OutSample::OutSample(const WeightedGraph& graph, std::uint64_t seed, int threads)
    : nodes_(graph.csc.num_nodes() * kSlots, kNone), weights_(graph.csc.num_nodes(), 0) {
  const std::uint64_t nodes = graph.csc.num_nodes();
  std::vector<std::uint32_t> seen(nodes, 0);
  // Each thread reads all edges for a range of sources: the writes, not the reads, cost.
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int range = 0; range < threads; ++range) {
    const std::uint64_t begin = nodes * range / threads, end = nodes * (range + 1) / threads;
    for (std::uint64_t v = 0; v < nodes; ++v) {
      graph.for_each_in(v, [&](std::uint64_t u, std::uint32_t weight) {
        if (u < begin || u >= end) return;
        weights_[u] += weight;
        std::uint64_t slot = seen[u]++;
        if (slot >= kSlots) slot = ((mixed(u ^ seed << 40, slot) >> 32) * (slot + 1)) >> 32;
        if (slot < kSlots) nodes_[u * kSlots + slot] = static_cast<std::uint32_t>(v);
      });
    }
    for (std::uint64_t u = begin; u < end; ++u) {
      weights_[u] /= std::max(1u, std::min(seen[u], static_cast<std::uint32_t>(kSlots)));
    }
  }
}

NodeUnits make_units(std::vector<std::uint32_t> labels, const NodeLoads& loads) {
  constexpr std::uint32_t kUnseen = 0xFFFFFFFFu;
  NodeUnits units{.labels = std::move(labels), .members = {}, .offsets = {0}, .loads = {}};
  std::vector<std::uint32_t> number(units.labels.size(), kUnseen);
  for (std::uint32_t& label : units.labels) {
    if (number[label] == kUnseen) {
      number[label] = static_cast<std::uint32_t>(units.offsets.size() - 1);
      units.offsets.push_back(0);
    }
    label = number[label];
    ++units.offsets[label + std::size_t{1}];
  }
  std::partial_sum(units.offsets.begin(), units.offsets.end(), units.offsets.begin());
  const auto constraints = static_cast<std::size_t>(loads.constraints());
  units.members.resize(units.labels.size());
  units.loads.assign(units.size() * constraints, 0);
  std::vector<std::uint64_t> next(units.offsets.begin(), units.offsets.end() - 1);
  for (std::size_t v = 0; v < units.labels.size(); ++v) {
    const std::size_t unit = units.labels[v];
    units.members[next[unit]++] = static_cast<std::uint32_t>(v);
    for (std::size_t c = 0; c < constraints; ++c)
      units.loads[unit * constraints + c] += loads.of(v)[c];
  }
  return units;
}

std::vector<std::uint32_t> cluster_nodes(const WeightedGraph& graph, const OutSample& out,
                                         const NodeLoads& loads, const ClusterOptions& options) {
  return LabelPropagation(graph, out, loads, options).run();
}

ScatteredOrder::ScatteredOrder(std::uint64_t count, std::uint64_t seed)
    : count_(count), step_(1), start_(count == 0 ? 0 : mixed(seed, 1) % count) {
  if (count < 3) return;
  // Near the golden section, successive multiples fall far from all earlier ones.
  step_ = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(0.6180339887 * static_cast<double>(count)));
  step_ = (step_ + mixed(seed, 2) % (1 + count / 64)) % count;
  while (step_ == 0 || std::gcd(step_, count) != 1) step_ = (step_ + 1) % count;
}

std::size_t batch_of_nodes(std::size_t nodes) {
  return std::clamp<std::size_t>(nodes / 256, 1, 4096);
}

}  // namespace gsplit
