// Whether METIS can hold a graph: what `--method auto` decides by.
#pragma once

#include <cstdint>
#include <filesystem>

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

/// Bytes that this process may still take: /proc/meminfo's MemAvailable, or what the control group
/// (v2 or v1) leaves of its limit where that is less. `root` is where proc/ and sys/ lie. 2^64 - 1
/// where nothing can be read.
std::uint64_t available_memory(const std::filesystem::path& root = "/");

}  // namespace gsplit
