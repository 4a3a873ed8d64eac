// In-degrees of a graph, summed up.
#pragma once

#include <cstdint>
#include <span>

#include "graph/dataset.h"

namespace gsplit {

struct DegreeStatistics {
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  std::uint64_t nodes = 0;
  std::uint64_t edges = 0;

  double mean() const {
    return nodes == 0 ? 0.0 : static_cast<double>(edges) / static_cast<double>(nodes);
  }
};

/// From one pass over the edge list, with 8 bytes a node. REQUIRES: validate_edges(dataset, ...)
/// has passed.
DegreeStatistics in_degree_statistics(const Dataset& dataset, int threads);

/// From the row bounds of a CSC, (nodes + 1) ascending.
DegreeStatistics in_degree_statistics(std::span<const std::int64_t> indptr);

/// Of the nodes of both.
DegreeStatistics combine(const DegreeStatistics& a, const DegreeStatistics& b);

}  // namespace gsplit
