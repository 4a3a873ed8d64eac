// What an import does to the edges that it reads.
#pragma once

namespace gsplit {

/// Steps, in this order. Without `dedup` edges keep the order of the input, each followed by its
/// reverse, added self-loops at the end by ascending node; with it they are sorted by (destination,
/// source).
struct EdgeSteps {
  bool drop_self_loops = false;
  bool reverse = false;         ///< each edge (u, v) is followed by (v, u) of the same weight
  bool add_self_loops = false;  ///< one (v, v) of weight 1 for every node
  bool dedup = false;           ///< of parallel edges the first stays, with its weight
  bool operator==(const EdgeSteps&) const = default;
};

}  // namespace gsplit
