// Which part each node belongs to, and what every partitioner must leave behind.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gsplit {

using PartId = std::uint16_t;
inline constexpr int kMaxParts = 65535;

/// (num_nodes) part of each OriginalId, below the number of parts; no part is empty.
using Assignment = std::vector<PartId>;

/// Nodes in each part. REQUIRES: every value below `parts`.
std::vector<std::uint64_t> part_sizes(std::span<const PartId> assignment, int parts);

/// Gives every empty part the highest node of the part that has most (ties: the lowest part).
/// REQUIRES: at least as many nodes as parts.
void repair_empty_parts(std::span<PartId> assignment, int parts);

/// Throws UsageError unless 1 <= parts <= kMaxParts and there is a node for each part.
void check_part_count(int parts, std::uint64_t num_nodes);

}  // namespace gsplit
