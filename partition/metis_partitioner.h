// k-way partitioning by METIS (G. Karypis and V. Kumar, "Multilevel k-way partitioning scheme for
// irregular graphs", JPDC 48(1), 1998) with presampled weights, so that the cut stands for what
// training shuffles and the balance for what training computes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/csc.h"
#include "partition/assignment.h"
#include "partition/metis.h"
#include "partition/presample.h"

namespace gsplit {

struct MetisOptions {
  int parts = 2;  ///< at least 2
  std::uint64_t seed = 0;
  int threads = 1;  ///< for building METIS's input; METIS itself has one
};

/// Part of every node of the symmetrised graph: edge weight = 1 + times sampled in either
/// direction; balanced in edges sampled into the nodes, input rows and training nodes, each where
/// enough nodes carry it, else in nodes. Graphs without edges or with fewer than 8 nodes a part are
/// cut by range_partition. Throws UsageError where METIS's 32-bit integers cannot hold the graph
/// (about 75-130 bytes of memory an undirected edge are needed too) or there are fewer nodes than
/// parts, SystemError where METIS fails.
Assignment metis_partition(const CscView& graph, const PresampleCounts& counts,
                           const MetisOptions& options);

/// `edge_samples`: (num_edges) weight of each edge of the CSC. Throws as check_metis_limits.
SymmetricGraph symmetrize(const CscView& graph, std::span<const std::uint16_t> edge_samples,
                          int threads);

}  // namespace gsplit
