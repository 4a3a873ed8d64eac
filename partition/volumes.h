// What a step of training computes, loads and moves on P workers in each mode, counted on
// presampled batches without training.
//
// One description serves the modes: P workers are G groups of Q. A batch is cut into G slices of
// equal size; each group takes one and divides its nodes by owner among its Q members, who shuffle
// rows among themselves.
//
//   split   G = 1, Q = P: every node of the sample has one owner (GSplit, arXiv 2303.13775)
//   data    G = P, Q = 1: every worker samples all that its slice needs, as DGL does
//   hybrid  in between: split within a host, data-parallel across hosts
//
// Since a node's draws depend on the node, layer and step alone, the sample of a slice is the part
// of the batch's sample that its seeds reach.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "graph/csc.h"
#include "partition/assignment.h"
#include "partition/presample.h"

namespace gsplit {

inline constexpr int kMaxCountedWorkers = 64;

struct VolumeOptions {
  int groups = 1;                      ///< G; G * Q <= kMaxCountedWorkers
  std::span<const PartId> assignment;  ///< (num_nodes) owner in a group, below `parts`
  int parts = 1;                       ///< Q
  std::span<const std::uint8_t>
      cached;              ///< (num_nodes) 1: every worker has the input row; may be empty
  std::uint64_t seed = 0;  ///< of the slices
};

/// Sums over workers, and the largest of one worker: the mean over steps of each.
struct Volume {
  double total = 0;
  double largest = 0;
};

/// One layer of a step; rows are of the layer's input but destinations.
struct LayerVolumes {
  Volume destinations;  ///< rows computed
  Volume edges;         ///< aggregated, one per sampled edge and worker
  Volume own_rows;      ///< sources that a worker has, as frontier of the layer below
  /// Rows received by pulling: unique (source, worker that uses it and does not own it).
  Volume pull_rows;
  /// Partial sums received by pushing: unique (destination on a worker, other owner of sources of
  /// it).
  Volume push_rows;
};

struct Volumes {
  std::vector<LayerVolumes> layers;  ///< input layer first
  Volume input_rows;                 ///< that workers load, cached ones included
  Volume cached_rows;                ///< of these, rows in `cached`
  std::uint32_t steps = 0;
};

/// REQUIRES: batches has a batch. Deterministic; one thread.
Volumes count_volumes(const CscView& graph, const PresampledBatches& batches,
                      const VolumeOptions& options);

}  // namespace gsplit
