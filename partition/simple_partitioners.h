// The partitioners that do not look at the edges: baselines to compare with, graphs that METIS
// cannot hold, and assignments made elsewhere.
//
// All are deterministic and throw UsageError where the graph has fewer nodes than parts.
#pragma once

#include <cstdint>
#include <filesystem>

#include "graph/csc.h"
#include "partition/assignment.h"

namespace gsplit {

/// Part sizes differ by at most one; which node goes where is drawn by Philox from `seed`.
Assignment random_partition(std::uint64_t num_nodes, int parts, std::uint64_t seed);

/// Contiguous ranges of OriginalIds with about equal numbers of nodes + in-edges.
Assignment range_partition(const CscView& graph, int parts);

/// Reads a .npy of integers (num_nodes). Throws UsageError naming the file for another shape, a
/// value outside [0, parts) or a part without nodes.
Assignment read_assignment(const std::filesystem::path& file, std::uint64_t num_nodes, int parts);

}  // namespace gsplit
