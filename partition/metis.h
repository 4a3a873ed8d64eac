// METIS's k-way partitioning (G. Karypis and V. Kumar, "Multilevel k-way partitioning scheme for
// irregular graphs", JPDC 48(1), 1998) of a graph that is held whole. Deterministic by seed, also
// beside threads that draw from rand().
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "partition/assignment.h"

namespace gsplit {

/// An undirected graph in METIS's form: each edge stands at both its ends; no loops, no parallel
/// edges.
struct SymmetricGraph {
  std::vector<std::int32_t> xadj;    // (num_nodes + 1)
  std::vector<std::int32_t> adjncy;  // (entries)
  std::vector<std::int32_t> adjwgt;  // (entries) sum below 2^31, at least 1 each
};

/// Loads that are to be spread evenly over the parts.
struct BalancedLoads {
  std::int32_t constraints = 0;
  /// (num_nodes, constraints), row by row; of each load the sum is below 2^31 and not 0.
  std::vector<std::int32_t> values;
};

struct KwayOptions {
  int parts = 2;  ///< at least 2
  std::uint64_t seed = 0;
};

/// Allowed maximum / average of a load over the parts; METIS's default for k-way is 1.03.
inline constexpr float kMetisImbalance = 1.05f;

/// The part of every node; a part may be empty. METIS needs about 75 to 130 bytes an undirected
/// edge and divides by zero at one part or a load that sums to 0. Throws SystemError where it runs
/// out of memory. (METIS's interface takes what it does not change as if it would.)
Assignment metis_kway(SymmetricGraph& graph, BalancedLoads& loads, const KwayOptions& options);

/// Throws UsageError unless `nodes` and `entries` (twice the undirected edges) fit METIS's 32 bits.
void check_metis_limits(std::uint64_t nodes, std::uint64_t entries);

/// 1 + each weight scaled so that the sum stays below 2^31. `scaled` may be `weights` itself.
/// REQUIRES: fewer than 2^31 weights. Weight is int32_t or uint64_t.
template <class Weight>
void scale_edge_weights(std::span<const Weight> weights, std::span<std::int32_t> scaled);

/// METIS's form of `loads`, (nodes, constraints): each scaled so that its sum stays below 2^31; a
/// positive load stays positive. Loads that sum to 0 are left out; where none is left every node
/// counts 1.
BalancedLoads scale_loads(std::span<const std::uint64_t> loads, std::size_t constraints);

}  // namespace gsplit
