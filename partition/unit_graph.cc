#include "partition/unit_graph.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "partition/label_weights.h"

namespace gsplit {
namespace {

struct Neighbor {
  std::uint32_t unit;
  std::uint64_t weight;
};

using Rows = std::vector<std::vector<Neighbor>>;  // (units)

/// The numbers of the largest units, ascending: all, or kMaxUnits.
std::vector<std::uint32_t> largest_units(const NodeUnits& units) {
  std::vector<std::uint32_t> largest(units.size());
  std::iota(largest.begin(), largest.end(), 0u);
  if (largest.size() <= kMaxUnits) return largest;
  std::nth_element(largest.begin(), largest.begin() + static_cast<std::ptrdiff_t>(kMaxUnits),
                   largest.end(), [&](std::uint32_t a, std::uint32_t b) {
                     const std::size_t size_a = units.of(a).size(), size_b = units.of(b).size();
                     return size_a != size_b ? size_a > size_b : a < b;
                   });
  largest.resize(kMaxUnits);
  std::sort(largest.begin(), largest.end());
  return largest;
}

/// Chooses which in-neighbours of units are kept.
class NeighborCollector {
 public:
  NeighborCollector(const WeightedGraph& graph, const NodeUnits& units)
      : graph_(graph),
        units_(units),
        largest_(largest_units(units)),
        most_(
            std::clamp<std::size_t>(graph.csc.num_nodes() / largest_.size(), 2, kMaxUnitNeighbors)),
        is_largest_(units.size(), 0) {
    for (const std::uint32_t unit : largest_) is_largest_[unit] = 1;
  }

  std::span<const std::uint32_t> largest() const { return largest_; }

  /// The heaviest in-neighbours of a unit. `weights` is scratch.
  std::vector<Neighbor> collect(std::uint32_t unit, LabelWeights& weights) const {
    weights.clear();
    for (const std::uint32_t v : units_.of(unit)) {
      graph_.for_each_in(v, [&](std::uint64_t u, std::uint32_t weight) {
        const std::uint32_t other = units_.labels[u];
        if (other != unit && is_largest_[other] != 0) weights.add(other, weight);
      });
    }
    std::vector<Neighbor> row;
    weights.for_each([&](std::uint32_t other, std::uint64_t w) { row.push_back({other, w}); });
    if (row.size() > most_) {
      std::nth_element(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(most_), row.end(),
                       [](const Neighbor& a, const Neighbor& b) {
                         return a.weight != b.weight ? a.weight > b.weight : a.unit < b.unit;
                       });
      row.resize(most_);
    }
    row.shrink_to_fit();
    return row;
  }

 private:
  const WeightedGraph& graph_;
  const NodeUnits& units_;
  std::vector<std::uint32_t> largest_;
  std::size_t most_;
  std::vector<std::uint8_t> is_largest_;  // (units)
};

/// Adds the reverse of every edge; in each row neighbours ascend and stand once.
void add_reverses(Rows& rows, int threads) {
  std::vector<std::size_t> in_edges(rows.size());
  std::transform(rows.begin(), rows.end(), in_edges.begin(),
                 [](const auto& row) { return row.size(); });
  for (std::size_t unit = 0; unit < rows.size(); ++unit) {
    for (std::size_t i = 0; i < in_edges[unit]; ++i) {
      const Neighbor neighbor = rows[unit][i];
      rows[neighbor.unit].push_back({static_cast<std::uint32_t>(unit), neighbor.weight});
    }
  }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 64)
  for (std::vector<Neighbor>& row : rows) {
    std::sort(row.begin(), row.end(),
              [](const Neighbor& a, const Neighbor& b) { return a.unit < b.unit; });
    std::size_t kept = 0;
    for (const Neighbor& neighbor : row) {
      if (kept > 0 && row[kept - 1].unit == neighbor.unit) {
        row[kept - 1].weight += neighbor.weight;
      } else {
        row[kept++] = neighbor;
      }
    }
    row.resize(kept);
  }
}

/// Of the rows that are not empty.
UnitGraph compact(const Rows& rows) {
  UnitGraph graph{.units = {}, .edges = {.xadj = {0}, .adjncy = {}, .adjwgt = {}}};
  std::vector<std::int32_t> number(rows.size(), 0);
  for (std::size_t unit = 0; unit < rows.size(); ++unit) {
    if (rows[unit].empty()) continue;
    number[unit] = static_cast<std::int32_t>(graph.units.size());
    graph.units.push_back(static_cast<std::uint32_t>(unit));
  }
  std::vector<std::uint64_t> weights;
  for (const std::uint32_t unit : graph.units) {
    for (const Neighbor& neighbor : rows[unit]) {
      graph.edges.adjncy.push_back(number[neighbor.unit]);
      weights.push_back(neighbor.weight);
    }
    graph.edges.xadj.push_back(static_cast<std::int32_t>(graph.edges.adjncy.size()));
  }
  check_metis_limits(graph.units.size(), weights.size());
  graph.edges.adjwgt.resize(weights.size());
  scale_edge_weights<std::uint64_t>(weights, graph.edges.adjwgt);
  return graph;
}

/// Puts METIS's parts of the linked units into `parts`.
void cut_linked(UnitGraph graph, const NodeUnits& units, const KwayOptions& options,
                Assignment& parts) {
  std::vector<std::uint64_t> loads;
  for (const std::uint32_t unit : graph.units) {
    loads.insert(loads.end(), units.load(unit).begin(), units.load(unit).end());
  }
  BalancedLoads balanced = scale_loads(loads, units.constraints());
  const Assignment linked = metis_kway(graph.edges, balanced, options);
  for (std::size_t i = 0; i < linked.size(); ++i) parts[graph.units[i]] = linked[i];
}

/// Gives units that have no part yet to the emptiest one, heavy units first.
void fill_up(const NodeUnits& units, std::vector<std::uint64_t> limits, std::size_t count,
             Assignment& parts) {
  GroupLoads loads(count, std::move(limits));
  std::vector<std::uint32_t> left;
  for (std::size_t unit = 0; unit < units.size(); ++unit) {
    if (parts[unit] < count) {
      loads.add(parts[unit], units.load(unit));
    } else {
      left.push_back(static_cast<std::uint32_t>(unit));
    }
  }
  std::stable_sort(left.begin(), left.end(), [&](std::uint32_t a, std::uint32_t b) {
    return loads.share(units.load(a)) > loads.share(units.load(b));
  });
  for (const std::uint32_t unit : left) {
    std::size_t emptiest = 0;
    for (std::size_t p = 1; p < count; ++p) {
      if (loads.fill_with(p, units.load(unit)) < loads.fill_with(emptiest, units.load(unit))) {
        emptiest = p;
      }
    }
    parts[unit] = static_cast<PartId>(emptiest);
    loads.add(emptiest, units.load(unit));
  }
}

}  // namespace

UnitGraph make_unit_graph(const WeightedGraph& graph, const NodeUnits& units, int threads) {
  const NeighborCollector collector(graph, units);
  const std::span<const std::uint32_t> largest = collector.largest();
  Rows rows(units.size());
#pragma omp parallel num_threads(threads)
  {
    LabelWeights weights;
#pragma omp for schedule(dynamic, 1)
    for (std::size_t i = 0; i < largest.size(); ++i) {
      rows[largest[i]] = collector.collect(largest[i], weights);
    }
  }
  add_reverses(rows, threads);
  return compact(rows);
}

Assignment partition_units(UnitGraph graph, const NodeUnits& units,
                           std::vector<std::uint64_t> limits, const KwayOptions& options) {
  const auto count = static_cast<std::size_t>(options.parts);
  Assignment parts(units.size(), static_cast<PartId>(options.parts));
  if (graph.units.size() >= kLeastNodesPerPart * count) {
    cut_linked(std::move(graph), units, options, parts);
  }
  fill_up(units, std::move(limits), count, parts);
  return parts;
}

}  // namespace gsplit
