#include "partition/node_clusters.h"

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "partition/label_weights.h"

namespace gsplit {
namespace {

/// A well mixed hash of two numbers (multiply and fold).
std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = (a + 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u ^ b;
  x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93u;
  return x ^ (x >> 32);
}

template <class Units>
class LabelPropagation {
 public:
  LabelPropagation(const WeightedGraph& graph, const OutSample& out, const Units& units,
                   const ClusterOptions& options)
      : graph_(graph),
        out_(out),
        units_(units),
        options_(options),
        labels_(units.size()),
        loads_(units.size(), options.limits) {
    std::iota(labels_.begin(), labels_.end(), 0u);
    for (std::size_t unit = 0; unit < units.size(); ++unit) loads_.add(unit, units.load(unit));
  }

  std::vector<std::uint32_t> run() {
    const std::size_t batch = batch_of_units(units_.size());
    std::vector<std::uint32_t> targets(batch);
    for (int pass = 0; pass < options_.passes; ++pass) {
      const ScatteredOrder order(units_.size(), options_.seed + static_cast<std::uint64_t>(pass));
      for (std::size_t begin = 0; begin < units_.size(); begin += batch) {
        const std::size_t count = std::min(batch, units_.size() - begin);
        choose(order, begin, pass, std::span(targets).first(count));
        for (std::size_t i = 0; i < count; ++i) move(order(begin + i), targets[i]);
      }
    }
    return std::move(labels_);
  }

 private:
  /// In-edges looked at in a pass, of a node alone and of a member of a unit; other passes see
  /// others. Most of a row tells little more than a part of it.
  static constexpr std::int64_t kScanned = std::is_same_v<Units, SingleNodes> ? 16 : 8;

  void choose(const ScatteredOrder& order, std::size_t begin, int pass,
              std::span<std::uint32_t> targets) const {
#pragma omp parallel num_threads(options_.threads)
    {
      LabelWeights& weights = thread_weights();
#pragma omp for schedule(dynamic, 32)
      for (std::size_t i = 0; i < targets.size(); ++i) {
        targets[i] = best_label(static_cast<std::uint32_t>(order(begin + i)), pass, weights);
      }
    }
  }

  static LabelWeights& thread_weights() {
    static thread_local LabelWeights weights;
    return weights;
  }

  std::uint32_t best_label(std::uint32_t unit, int pass, LabelWeights& weights) const {
    weights.clear();
    const auto count = [&](std::uint64_t neighbor, std::uint32_t weight) {
      const std::size_t other = units_.unit_of(neighbor);
      if (other != unit) weights.add(labels_[other], weight);
    };
    for (const std::uint32_t v : units_.of(unit)) {
      graph_.for_some_in(v, kScanned, pass, count);
      out_.for_each_out(v, count);
    }
    std::uint32_t best = labels_[unit];
    std::uint64_t most = 0;
    weights.for_each([&](std::uint32_t label, std::uint64_t weight) {
      const bool better =
          weight > most ||
          (weight == most && (label == labels_[unit] || (best != labels_[unit] && label < best)));
      if (!better) return;
      if (label != labels_[unit] && !loads_.fits(label, units_.load(unit))) return;
      best = label;
      most = weight;
    });
    return best;
  }

  void move(std::size_t unit, std::uint32_t target) {
    if (target == labels_[unit] || !loads_.fits(target, units_.load(unit))) return;
    loads_.remove(labels_[unit], units_.load(unit));
    loads_.add(target, units_.load(unit));
    labels_[unit] = target;
  }

  const WeightedGraph& graph_;
  const OutSample& out_;
  const Units& units_;
  const ClusterOptions& options_;
  std::vector<std::uint32_t> labels_;  // (units)
  GroupLoads loads_;
};

}  // namespace

OutSample::OutSample(const WeightedGraph& graph, std::uint64_t seed)
    : nodes_(graph.csc.num_nodes() * kSlots, kNone), weights_(graph.csc.num_nodes(), 0) {
  const std::uint64_t nodes = graph.csc.num_nodes();
  std::vector<std::uint32_t> seen(nodes, 0);
  for (std::uint64_t v = 0; v < nodes; ++v) {
    graph.for_each_in(v, [&](std::uint64_t u, std::uint32_t weight) {
      weights_[u] += weight;
      std::uint64_t slot = seen[u]++;
      if (slot >= kSlots) slot = ((mixed(u ^ seed << 40, slot) >> 32) * (slot + 1)) >> 32;
      if (slot < kSlots) nodes_[u * kSlots + slot] = static_cast<std::uint32_t>(v);
    });
  }
  for (std::uint64_t u = 0; u < nodes; ++u) {
    weights_[u] /= std::max(1u, std::min(seen[u], static_cast<std::uint32_t>(kSlots)));
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
  const SingleNodes nodes(loads, graph.csc.num_nodes());
  return LabelPropagation(graph, out, nodes, options).run();
}

std::vector<std::uint32_t> merge_units(const WeightedGraph& graph, const OutSample& out,
                                       const NodeUnits& units, const ClusterOptions& options) {
  const std::vector<std::uint32_t> merged = LabelPropagation(graph, out, units, options).run();
  std::vector<std::uint32_t> labels(units.labels.size());
  std::transform(units.labels.begin(), units.labels.end(), labels.begin(),
                 [&](std::uint32_t unit) { return merged[unit]; });
  return labels;
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

std::size_t batch_of_units(std::size_t units) {
  return std::clamp<std::size_t>(units / 256, 1, 1024);
}

}  // namespace gsplit
