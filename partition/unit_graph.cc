#include "partition/unit_graph.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

#include "partition/label_weights.h"

namespace gsplit {

struct UnitGraph::Trial {
  Trial(std::size_t units, int parts, const std::vector<std::uint64_t>& limits)
      : part(units, static_cast<PartId>(parts)),
        parts(static_cast<std::size_t>(parts)),
        loads(static_cast<std::size_t>(parts), limits) {}

  std::vector<PartId> part;  // (units) `parts` where there is none yet
  std::size_t parts;
  GroupLoads loads;
};

UnitGraph::UnitGraph(const WeightedGraph& graph, const NodeUnits& units, int threads)
    : units_(units), neighbors_(units.size()) {
  const std::size_t most =
      std::clamp<std::size_t>(graph.csc.num_nodes() / units.size(), 2, kMaxNeighbors);
#pragma omp parallel num_threads(threads)
  {
    LabelWeights weights;
#pragma omp for schedule(dynamic, 1)
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
      weights.clear();
      for (const std::uint32_t v : units.of(unit)) {
        graph.for_each_in(v, [&](std::uint64_t u, std::uint32_t weight) {
          if (const std::size_t other = units.unit_of(u); other != unit) {
            weights.add(static_cast<std::uint32_t>(other), weight);
          }
        });
      }
      std::vector<Neighbor>& row = neighbors_[unit];
      weights.for_each([&](std::uint32_t other, std::uint64_t w) { row.push_back({other, w}); });
      std::sort(row.begin(), row.end(), [](const Neighbor& a, const Neighbor& b) {
        return a.weight != b.weight ? a.weight > b.weight : a.unit < b.unit;
      });
      if (row.size() > most) row.resize(most);
      row.shrink_to_fit();
    }
  }
  std::vector<std::size_t> in_edges;
  for (const std::vector<Neighbor>& row : neighbors_) in_edges.push_back(row.size());
  for (std::size_t unit = 0; unit < units.size(); ++unit) {
    for (std::size_t i = 0; i < in_edges[unit]; ++i) {
      const Neighbor neighbor = neighbors_[unit][i];
      neighbors_[neighbor.unit].push_back({static_cast<std::uint32_t>(unit), neighbor.weight});
    }
  }
}

void UnitGraph::grow(Trial& trial, std::uint64_t seed) const {
  const ScatteredOrder order(units_.size(), seed);
  std::uint64_t next_seed = 0;
  std::vector<std::uint64_t> attached(units_.size(), 0);
  for (std::size_t p = 0; p < trial.parts; ++p) {
    std::priority_queue<std::pair<std::uint64_t, std::uint32_t>> heap;
    std::fill(attached.begin(), attached.end(), 0);
    // The limits leave room for all parts together only if each fills to its average.
    while (trial.loads.fill(p) < 1 / 1.05) {
      std::uint32_t unit = static_cast<std::uint32_t>(units_.size());
      while (!heap.empty() && unit == units_.size()) {
        const auto [weight, candidate] = heap.top();
        heap.pop();
        const bool stale = trial.part[candidate] != trial.parts || weight != attached[candidate];
        if (!stale && trial.loads.fits(p, units_.load(candidate))) unit = candidate;
      }
      while (unit == units_.size() && next_seed < units_.size()) {
        const auto candidate = static_cast<std::uint32_t>(order(next_seed++));
        if (trial.part[candidate] == trial.parts) unit = candidate;
      }
      if (unit == units_.size()) break;
      trial.part[unit] = static_cast<PartId>(p);
      trial.loads.add(p, units_.load(unit));
      for (const Neighbor& neighbor : neighbors_[unit]) {
        if (trial.part[neighbor.unit] != trial.parts) continue;
        attached[neighbor.unit] += neighbor.weight;
        heap.emplace(attached[neighbor.unit], neighbor.unit);
      }
    }
  }
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    if (trial.part[unit] != trial.parts) continue;
    std::size_t emptiest = 0;
    for (std::size_t p = 1; p < trial.parts; ++p) {
      if (trial.loads.fill(p) < trial.loads.fill(emptiest)) emptiest = p;
    }
    trial.part[unit] = static_cast<PartId>(emptiest);
    trial.loads.add(emptiest, units_.load(unit));
  }
}

void UnitGraph::stream(Trial& trial, std::uint64_t seed) const {
  const ScatteredOrder order(units_.size(), seed);
  std::vector<std::uint32_t> heavy_first(units_.size());
  for (std::size_t i = 0; i < heavy_first.size(); ++i) {
    heavy_first[i] = static_cast<std::uint32_t>(order(i));
  }
  // Up to a power of two, so that seeds differ in the order.
  const auto magnitude = [&](std::uint32_t unit) {
    return std::ilogb(trial.loads.share(units_.load(unit)));
  };
  std::stable_sort(heavy_first.begin(), heavy_first.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return magnitude(a) > magnitude(b); });
  std::vector<double> weights(trial.parts + 1);
  for (const std::uint32_t unit : heavy_first) {
    std::fill(weights.begin(), weights.end(), 0.0);
    for (const Neighbor& n : neighbors_[unit]) {
      weights[trial.part[n.unit]] += static_cast<double>(n.weight);
    }
    std::size_t best = trial.parts, emptiest = 0;
    double most = 0;
    for (std::size_t p = 0; p < trial.parts; ++p) {
      if (trial.loads.fill(p) < trial.loads.fill(emptiest)) emptiest = p;
      if (!trial.loads.fits(p, units_.load(unit))) continue;
      const double score = weights[p] * (1 - trial.loads.fill(p));
      if (score > most) {
        most = score;
        best = p;
      }
    }
    if (best == trial.parts) best = emptiest;
    trial.part[unit] = static_cast<PartId>(best);
    trial.loads.add(best, units_.load(unit));
  }
}

void UnitGraph::improve(Trial& trial) const {
  constexpr int kPasses = 10;
  std::vector<double> weights(trial.parts);
  for (int pass = 0; pass < kPasses; ++pass) {
    std::size_t moves = 0;
    const ScatteredOrder order(units_.size(), static_cast<std::uint64_t>(pass));
    for (std::size_t i = 0; i < units_.size(); ++i) {
      const std::size_t unit = order(i), own = trial.part[unit];
      std::fill(weights.begin(), weights.end(), 0.0);
      for (const Neighbor& n : neighbors_[unit]) {
        weights[trial.part[n.unit]] += static_cast<double>(n.weight);
      }
      std::size_t best = own;
      const bool must = trial.loads.relief(own, units_.load(unit)) > 0;
      const double fullness = trial.loads.fill(own);
      double most = must ? -1 : weights[own];
      for (std::size_t p = 0; p < trial.parts; ++p) {
        const bool room = trial.loads.fits(p, units_.load(unit)) ||
                          (must && trial.loads.fill_with(p, units_.load(unit)) < fullness);
        if (p != own && room && weights[p] > most) {
          most = weights[p];
          best = p;
        }
      }
      if (best == own) continue;
      trial.loads.remove(own, units_.load(unit));
      trial.loads.add(best, units_.load(unit));
      trial.part[unit] = static_cast<PartId>(best);
      ++moves;
    }
    if (moves == 0) break;
  }
}

double UnitGraph::cost(const Trial& trial) const {
  double cut = 0, total = 0, fullest = 1;
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    for (const Neighbor& n : neighbors_[unit]) {
      total += static_cast<double>(n.weight);
      if (trial.part[n.unit] != trial.part[unit]) cut += static_cast<double>(n.weight);
    }
  }
  for (std::size_t p = 0; p < trial.parts; ++p) {
    fullest = std::max(fullest, trial.loads.fill(p));
  }
  return cut + 3 * (fullest - 1) * total;  // what is too full will have to be cut off
}

std::vector<PartId> UnitGraph::partition(int parts, const std::vector<std::uint64_t>& limits,
                                         int trials, std::uint64_t seed) const {
  std::vector<PartId> best;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < trials; ++i) {
    Trial trial(units_.size(), parts, limits);
    if (i % 2 == 0) {
      grow(trial, seed + static_cast<std::uint64_t>(i));
    } else {
      stream(trial, seed + static_cast<std::uint64_t>(i));
    }
    improve(trial);
    if (const double found = cost(trial); found < least) {
      least = found;
      best = std::move(trial.part);
    }
  }
  return best;
}

}  // namespace gsplit
