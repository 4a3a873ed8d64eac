#include "graph/degree_statistics.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace gsplit {

DegreeStatistics in_degree_statistics(const Dataset& dataset, int threads) {
  std::vector<std::int64_t> indptr(dataset.num_nodes + 1);
  dataset.edges.visit_integers([&](auto ends) {
    const auto destinations = ends.last(dataset.num_edges);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (const auto v : destinations) {
      std::atomic_ref(indptr[static_cast<std::size_t>(v) + 1])
          .fetch_add(1, std::memory_order_relaxed);
    }
  });
  for (std::size_t v = 1; v < indptr.size(); ++v) indptr[v] += indptr[v - 1];
  return in_degree_statistics(indptr);
}

DegreeStatistics in_degree_statistics(std::span<const std::int64_t> indptr) {
  DegreeStatistics statistics;
  for (std::size_t v = 0; v + 1 < indptr.size(); ++v) {
    const auto degree = static_cast<std::uint64_t>(indptr[v + 1] - indptr[v]);
    statistics = combine(statistics, {degree, degree, 1, degree});
  }
  return statistics;
}

DegreeStatistics combine(const DegreeStatistics& a, const DegreeStatistics& b) {
  if (a.nodes == 0) return b;
  if (b.nodes == 0) return a;
  return {std::min(a.min, b.min), std::max(a.max, b.max), a.nodes + b.nodes, a.edges + b.edges};
}

}  // namespace gsplit
