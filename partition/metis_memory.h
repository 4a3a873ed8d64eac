// Whether METIS can hold a graph: what `--method auto` decides by.
#pragma once

#include <cstdint>

#include "graph/csc.h"

namespace gsplit {

struct MetisEstimate {
  std::uint64_t nodes = 0;
  std::uint64_t edges = 0;  ///< undirected, without loops and parallel edges
  std::uint64_t bytes = 0;  ///< peak of symmetrising and METIS, beside the CSC
};

/// Estimates the symmetrised graph from the rows of up to 20,000 nodes, the same ones each time.
MetisEstimate estimate_metis(const CscView& graph);

/// Whether METIS's 32-bit integers (see check_metis_limits) and `memory` bytes hold the graph.
bool metis_fits(const MetisEstimate& estimate, std::uint64_t memory);

}  // namespace gsplit
