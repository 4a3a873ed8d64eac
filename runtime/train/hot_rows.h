// Which feature rows are worth keeping at hand, and where a kept row lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/base/ids.h"
#include "kernels/sampling.h"

namespace gsplit {

/// Rows that a budget, a fraction in [0, 1], allows of `rows`: rounded to the nearest.
std::size_t rows_within(double budget, std::size_t rows);

/// The `count` nodes with the most reads, ascending; of equal ones those with the smaller id. All
/// where there are fewer. `reads`: by GlobalId.
std::vector<GlobalId> hottest(std::span<const std::uint16_t> reads, std::size_t count);

/// The same of nodes outside `own` that were read at all.
std::vector<GlobalId> hottest_elsewhere(std::span<const std::uint16_t> reads, std::size_t count,
                                        GlobalRange own);

/// A set of nodes and the rank of each, in 1.5 bits a node of the graph.
class NodeRanks {
 public:
  /// `members`: ascending, below `nodes`.
  NodeRanks(std::span<const GlobalId> members, std::uint64_t nodes);

  /// How many members are smaller, of a member; nothing of others.
  std::optional<std::uint64_t> find(GlobalId node) const;

 private:
  std::vector<std::uint64_t> words_;
  std::vector<std::uint32_t> before_;  // (words) members in the words before
};

}  // namespace gsplit
