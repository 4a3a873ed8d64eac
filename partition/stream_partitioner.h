// Partitioning in linear time and O(nodes) memory, for graphs that METIS cannot hold: METIS on
// clusters of nodes, then restreaming (C. Tsourakakis et al., "FENNEL", WSDM 2014; J. Nishimura and
// J. Ugander, "Restreaming graph partitioning", KDD 2013), with the presampled weights.
//
//   1. Clusters of at most 1/16 of a part in each load, by size-constrained label propagation
//      (node_clusters.h); as coarsening this is that of H. Meyerhenke, P. Sanders, C. Schulz (SEA
//      2014).
//   2. The clusters form a small graph (unit_graph.h), which METIS cuts, keeping every load
//      balanced.
//   3. Restreaming of nodes: those of parts that are too full leave, then each moves where most of
//      its edges lead if that part has room; three times, with less and less room.
//
// Memory beside the CSC and its counts, in bytes a node: 12 for loads, 2 for the result; in steps 1
// and 2 20 for the drawn out-neighbours, 28 for the clusters; in step 3 4 for each part up to 16
// parts. The graph of clusters keeps at most 64 neighbours of a cluster and about as many in all as
// there are nodes. No array has an entry for each edge. Time: about 10 passes over the edges.
//
// Only in-edges are at hand. In step 1 out-edges are told by a few drawn ones. In step 3, up to 16
// parts, a table holds for each node the weight of its out-edges into each part, exactly: a node
// that moves adds its in-edges' weights to the rows of its in-neighbours. With more parts the drawn
// out-edges serve there too. Step 2 sums the in-edges of all clusters, hence both directions.
#pragma once

#include <cstdint>

#include "graph/csc.h"
#include "partition/assignment.h"
#include "partition/presample.h"

namespace gsplit {

struct StreamOptions {
  int parts = 2;  ///< at least 2
  std::uint64_t seed = 0;
  int threads = 1;
};

/// Part of every node, balanced as metis_partition does and for few shuffled rows; no part is
/// empty. A pure function of (graph, counts, parts, seed), whatever the threads. Graphs without
/// edges or with fewer than 8 nodes a part are cut by range_partition. Throws UsageError where
/// there are fewer nodes than parts or 2^32 - 1 nodes or more.
Assignment stream_partition(const CscView& graph, const PresampleCounts& counts,
                            const StreamOptions& options);

}  // namespace gsplit
