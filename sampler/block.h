// What sampling leaves for training: per layer a bipartite graph and the plan of the rows that
// cross workers. Sizes are known here, once; forward and backward never ask again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/ids.h"
#include "kernels/memory.h"
#include "kernels/sampling.h"

namespace gsplit {

/// One layer on one worker: its own destinations over source rows [own rows | rows received from
/// peers, by rank]. The destinations are source rows 0 .. num_destinations - 1. In the input layer
/// the last own rows may be copies of other workers' rows (sampler/copies.h). Where sums travel
/// (sampler/routes.h) some received rows are partial sums of one destination, whose edge to it has
/// weight 1 and stands where the first of the summed edges stood.
struct Block {
  RowIndex num_destinations = 0;
  RowIndex num_own = 0;       ///< own source rows, copies included
  RowIndex num_copies = 0;    ///< of these
  RowIndex num_received = 0;  ///< rows of other workers
  /// Own nodes that are no source rows here only because other workers read copies of their rows.
  RowIndex num_spared = 0;
  Buffer<RowIndex> indptr;  ///< (num_destinations + 1)
  Buffer<RowIndex>
      columns;  ///< (edges), source rows; in a row by ascending OriginalId of the neighbour
  Buffer<float> weights;  ///< (edges) of the edges; empty: unweighted
  /// Where sums travel: edges that were drawn beyond those of `columns`, summed by other workers.
  std::size_t edges_elsewhere = 0;
  /// (num_destinations) where sums travel, else empty: 1 / edges drawn, 0 for none.
  Buffer<double> inverse_lengths;
  InverseCsr inverse;  ///< over num_sources() rows; empty where no source gradient is needed

  RowIndex num_sources() const { return num_own + num_received; }
  /// Source rows of nodes that this worker owns.
  RowIndex num_owned() const { return num_own - num_copies; }
  /// What num_own would be if nobody had copies: over workers each source once.
  RowIndex num_needed() const { return num_owned() + num_spared; }
  /// Edges drawn.
  std::size_t num_edges() const { return columns.size() + edges_elsewhere; }
};

/// A CSR whose rows, weighted sums of own source rows, are what is sent.
struct PartialSums {
  Buffer<RowIndex> indptr;   ///< (rows sent + 1)
  Buffer<RowIndex> columns;  ///< own source rows
  Buffer<float> weights;     ///< as columns; empty: all 1
  InverseCsr inverse;        ///< over num_own rows; empty where no source gradient is needed
};

/// Which own rows, or sums of own rows, go to whom and how many come from whom; backward is the
/// same plan reversed. The own entry of both counts is 0.
struct ShufflePlan {
  std::vector<std::size_t> send_counts;     ///< (workers) rows
  std::vector<std::size_t> receive_counts;  ///< (workers) rows; their sum is Block::num_received
  /// Own source rows, grouped by receiver in rank order, distinct within one; empty where sums
  /// travel.
  Buffer<RowIndex> send_rows;
  /// Rows that pulling sends, whatever travels. Of rows that copies spare the reader counts: so the
  /// sum over workers is right, and the same both ways.
  std::size_t pull_sends = 0;
  std::size_t pull_receives = 0;  ///< and receives
  PartialSums sums = {};  ///< what is sent where sums travel, grouped by receiver; else empty

  bool sends_sums() const { return sums.indptr.size() > 0; }
};

struct SampledLayer {
  Block block;
  ShufflePlan plan;
};

/// The sample of one step on one worker.
struct MiniBatch {
  /// layers[0] reads the input features, layers.back() produces the seeds' outputs.
  std::vector<SampledLayer> layers;
  /// Own nodes in row order, F(0), and behind them the copies used: copy i is named own nodes of
  /// the part + i. The own source rows of layers[l] are its first layers[l].block.num_own nodes,
  /// the destinations its first num_destinations.
  Buffer<LocalId> nodes;
  std::uint64_t plan_bytes = 0;  ///< ids and counts sent to other workers

  std::uint64_t num_edges() const {
    std::uint64_t edges = 0;
    for (const SampledLayer& layer : layers) edges += layer.block.num_edges();
    return edges;
  }
};

}  // namespace gsplit
