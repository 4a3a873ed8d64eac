#include "partition/node_loads.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace gsplit {
namespace {

/// Allowed maximum / average of edges, input rows, training nodes; and of nodes where these are
/// too few.
constexpr double kEdgeTolerance = 1.05, kInputTolerance = 1.05, kSeedTolerance = 1.05,
                 kNodeTolerance = 1.05;

template <class Load>
std::uint32_t saturated(Load load) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(load, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

template <class Load>
bool NodeLoads::can_be_balanced(const std::vector<Load>& load, int parts) const {
  const auto idle = static_cast<std::size_t>(std::count(load.begin(), load.end(), Load{0}));
  return load.size() - idle >= kLeastNodesPerPart * static_cast<std::size_t>(parts);
}

NodeLoads::NodeLoads(const PresampleCounts& counts, int parts) {
  const bool edges = can_be_balanced(counts.compute, parts);
  const bool inputs = can_be_balanced(counts.input_rows, parts);
  const bool seeds = can_be_balanced(counts.is_seed, parts);
  if (edges) tolerances_.push_back(kEdgeTolerance);
  if (inputs) tolerances_.push_back(kInputTolerance);
  if (seeds) tolerances_.push_back(kSeedTolerance);
  const std::size_t nodes = counts.compute.size();
  if (tolerances_.empty()) {
    tolerances_.push_back(kNodeTolerance);
    values_.assign(nodes, 1);
    return;
  }
  values_.reserve(nodes * tolerances_.size());
  for (std::size_t v = 0; v < nodes; ++v) {
    if (edges) values_.push_back(saturated(counts.compute[v]));
    if (inputs) values_.push_back(counts.input_rows[v]);
    if (seeds) values_.push_back(counts.is_seed[v]);
  }
}

GroupLoads::GroupLoads(std::size_t groups, std::vector<std::uint64_t> limits)
    : limits_(std::move(limits)), sums_(groups * limits_.size(), 0) {}

void GroupLoads::add(std::size_t group, std::span<const std::uint64_t> load) {
  for (std::size_t c = 0; c < limits_.size(); ++c) sums_[group * limits_.size() + c] += load[c];
}

void GroupLoads::remove(std::size_t group, std::span<const std::uint64_t> load) {
  for (std::size_t c = 0; c < limits_.size(); ++c) sums_[group * limits_.size() + c] -= load[c];
}

bool GroupLoads::fits(std::size_t group, std::span<const std::uint64_t> load) const {
  for (std::size_t c = 0; c < limits_.size(); ++c) {
    // A full group may still take what does not add to the load it is full of.
    if (load[c] > 0 && sums_[group * limits_.size() + c] + load[c] > limits_[c]) return false;
  }
  return true;
}

double GroupLoads::relief(std::size_t group, std::span<const std::uint64_t> load) const {
  double most = 0;
  for (std::size_t c = 0; c < limits_.size(); ++c) {
    if (sums_[group * limits_.size() + c] <= limits_[c] || limits_[c] == 0) continue;
    most = std::max(most, static_cast<double>(load[c]) / static_cast<double>(limits_[c]));
  }
  return most;
}

double GroupLoads::share(std::span<const std::uint64_t> load) const {
  double most = 1e-12;
  for (std::size_t c = 0; c < limits_.size(); ++c) {
    if (limits_[c] == 0) continue;
    most = std::max(most, static_cast<double>(load[c]) / static_cast<double>(limits_[c]));
  }
  return most;
}

double GroupLoads::fill(std::size_t group) const {
  constexpr std::array<std::uint64_t, kMaxConstraints> kNothing{};
  return fill_with(group, kNothing);
}

double GroupLoads::fill_with(std::size_t group, std::span<const std::uint64_t> load) const {
  double most = 0;
  for (std::size_t c = 0; c < limits_.size(); ++c) {
    if (limits_[c] == 0) continue;
    most = std::max(most, static_cast<double>(sums_[group * limits_.size() + c] + load[c]) /
                              static_cast<double>(limits_[c]));
  }
  return most;
}

std::vector<std::uint64_t> total_loads(const NodeLoads& loads, std::uint64_t nodes) {
  std::vector<std::uint64_t> totals(static_cast<std::size_t>(loads.constraints()), 0);
  for (std::uint64_t v = 0; v < nodes; ++v) {
    for (std::size_t c = 0; c < totals.size(); ++c) totals[c] += loads.of(v)[c];
  }
  return totals;
}

std::vector<std::uint64_t> part_limits(const NodeLoads& loads, std::uint64_t nodes, int parts,
                                       double slack) {
  std::vector<std::uint64_t> limits = total_loads(loads, nodes);
  for (std::size_t c = 0; c < limits.size(); ++c) {
    limits[c] = static_cast<std::uint64_t>(std::ceil(slack * loads.tolerance(static_cast<int>(c)) *
                                                     static_cast<double>(limits[c]) / parts));
  }
  return limits;
}

}  // namespace gsplit
