// Partitioning in linear time and O(nodes) memory, for graphs that METIS cannot hold: restreaming
// (C. Tsourakakis et al., "FENNEL", WSDM 2014; J. Nishimura and J. Ugander, "Restreaming graph
// partitioning", KDD 2013) over clusters of shrinking size, with the presampled weights.
//
//   1. Clusters of nodes and clusters of these clusters, by size-constrained label propagation
//      (node_clusters.h).
//   2. The large clusters form a small graph (unit_graph.h); the best of several ways to fill the
//      parts with them is kept. The streamed ones follow Fennel's and LDG's rule: each cluster,
//      heavy ones first, goes where (weight of its edges there) x (room left there) is largest.
//   3. Restreaming, from the large clusters down to nodes: units leave parts that are too full,
//      then each unit moves where most of its edges lead if that part has room.
//
// Memory beside the CSC and its counts, in bytes a node: 12 for loads, 20 for the drawn
// out-neighbours, 16 for the clusters, 4 for each part up to 16 parts, and 2 for the result; while
// clusters are made 28 more, in step 2 32 to 64 more; a cluster takes some tens of bytes. No array
// has an entry for each edge. Time: about 20 passes over the edges, whatever the graph.
//
// Only in-edges are at hand. In step 1 out-edges are told by a few drawn ones. From step 3 on, up
// to 16 parts, a table holds for each node the weight of its out-edges into each part, exactly: a
// unit that moves adds its in-edges' weights to the rows of its in-neighbours. With more parts the
// drawn out-edges serve there too. Step 2 sums the in-edges of all clusters, hence both directions.
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
