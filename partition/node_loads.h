// What a node costs the part that owns it, as the loads that a partitioner keeps balanced.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "partition/assignment.h"
#include "partition/presample.h"

namespace gsplit {

/// Nodes a part on average, below which a load cannot be spread over the parts.
inline constexpr std::size_t kLeastNodesPerPart = 8;

inline constexpr std::size_t kMaxConstraints = 3;

/// Loads of nodes: edges sampled into them, input rows, training nodes; each only where at least
/// kLeastNodesPerPart nodes a part carry it. Where none is left, every node counts 1.
class NodeLoads {
 public:
  NodeLoads(const PresampleCounts& counts, int parts);

  int constraints() const { return static_cast<int>(tolerances_.size()); }
  /// (constraints) loads of node v; those above 2^32 - 1 count as that.
  std::span<const std::uint32_t> of(std::uint64_t v) const {
    return std::span(values_).subspan(v * tolerances_.size(), tolerances_.size());
  }
  /// The same as sums are added up of; entries beyond the constraints are 0.
  std::array<std::uint64_t, kMaxConstraints> wide(std::uint64_t v) const {
    std::array<std::uint64_t, kMaxConstraints> load{};
    std::copy(of(v).begin(), of(v).end(), load.begin());
    return load;
  }
  std::span<const std::uint32_t> values() const { return values_; }  ///< (num_nodes, constraints)
  /// Allowed maximum / average of constraint `c` over the parts.
  double tolerance(int c) const { return tolerances_[static_cast<std::size_t>(c)]; }

 private:
  template <class Load>
  bool can_be_balanced(const std::vector<Load>& load, int parts) const;

  std::vector<double> tolerances_;     // (constraints)
  std::vector<std::uint32_t> values_;  // (num_nodes, constraints)
};

/// Sums of loads over groups of nodes (parts, clusters), each with the same limit. A load has an
/// entry for each constraint; entries beyond are not read.
class GroupLoads {
 public:
  /// `groups` empty groups. `limits`: (constraints).
  GroupLoads(std::size_t groups, std::vector<std::uint64_t> limits);

  void set_limits(std::vector<std::uint64_t> limits) { limits_ = std::move(limits); }
  void add(std::size_t group, std::span<const std::uint64_t> load);
  void remove(std::size_t group, std::span<const std::uint64_t> load);
  /// Brings the group's sums into the cache.
  void prefetch(std::size_t group) const { __builtin_prefetch(&sums_[group * limits_.size()]); }
  /// Whether the group stays within its limits when `load` is added.
  bool fits(std::size_t group, std::span<const std::uint64_t> load) const;
  /// Largest load / limit over the constraints in which the group is above its limit: how much
  /// removing `load` would help; 0 if not at all.
  double relief(std::size_t group, std::span<const std::uint64_t> load) const;
  /// Largest load / limit over the constraints, never 0.
  double share(std::span<const std::uint64_t> load) const;
  /// Largest sum / limit over the constraints.
  double fill(std::size_t group) const;
  /// The same if `load` were added.
  double fill_with(std::size_t group, std::span<const std::uint64_t> load) const;

 private:
  std::vector<std::uint64_t> limits_;  // (constraints)
  std::vector<std::uint64_t> sums_;    // (groups, constraints)
};

/// (constraints) sums over all nodes.
std::vector<std::uint64_t> total_loads(const NodeLoads& loads, std::uint64_t nodes);

/// (constraints) the most that a part may hold: slack x tolerance x average, rounded up.
std::vector<std::uint64_t> part_limits(const NodeLoads& loads, std::uint64_t nodes, int parts,
                                       double slack = 1);

}  // namespace gsplit
