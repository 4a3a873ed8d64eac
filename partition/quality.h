// How good a partition is for split-parallel training: what quality.json says.
//
// With part(v) the owner of node v, E the stored edges u -> v, B the presampled batches and
// S(b, l) the edges that layer l of batch b samples:
//
//   cut_fraction   |{u -> v in E : part(u) != part(v)}| / |E|, 0 without edges
//   halo_rows      |{(u, part(v)) : u -> v in E, part(v) != part(u)}|
//   shuffle_rows   sum over b, l of |{(u, part(v)) : u -> v in S(b, l), part(v) != part(u)}| / |B|:
//                  the rows that pulling would move in a step, all layers together
//   load_max_avg   for each load, with w(p) its sum over the nodes of part p:
//                  max over p of w(p) / (sum over p of w(p) / P), 1 where the sum is 0
//     edges        edges sampled into a node, over all layers and batches
//     input_rows   batches that need the node's input row
//     seeds        1 for a training node
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "graph/csc.h"
#include "partition/assignment.h"
#include "partition/presample.h"

namespace gsplit {

struct LoadBalance {
  double edges = 1;
  double input_rows = 1;
  double seeds = 1;
};

struct Quality {
  int parts = 1;
  std::string method;
  double seconds = 0;  ///< wall time from the dataset to the written shards
  std::uint64_t peak_rss_bytes = 0;
  double cut_fraction = 0;
  std::uint64_t halo_rows = 0;
  double shuffle_rows = 0;
  LoadBalance load_max_avg;
};

/// Fills cut_fraction, halo_rows, shuffle_rows and load_max_avg; the same for any `threads`.
Quality measure_quality(const CscView& graph, std::span<const PartId> assignment, int parts,
                        const PresampledBatches& batches, const PresampleCounts& counts,
                        int threads);

/// Writes quality.json. Throws SystemError.
void write_quality(const std::filesystem::path& file, const Quality& quality);

}  // namespace gsplit
