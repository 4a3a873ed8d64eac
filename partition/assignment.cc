#include "partition/assignment.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace gsplit {

std::vector<std::uint64_t> part_sizes(std::span<const PartId> assignment, int parts) {
  std::vector<std::uint64_t> sizes(static_cast<std::size_t>(parts), 0);
  for (const PartId part : assignment) ++sizes[part];
  return sizes;
}

void repair_empty_parts(std::span<PartId> assignment, int parts) {
  GSPLIT_CHECK(assignment.size() >= static_cast<std::size_t>(parts));
  std::vector<std::uint64_t> sizes = part_sizes(assignment, parts);
  for (std::size_t empty = 0; empty < sizes.size(); ++empty) {
    if (sizes[empty] != 0) continue;
    const auto largest =
        static_cast<PartId>(std::max_element(sizes.begin(), sizes.end()) - sizes.begin());
    *std::find(assignment.rbegin(), assignment.rend(), largest) = static_cast<PartId>(empty);
    --sizes[largest];
    ++sizes[empty];
  }
}

void check_part_count(int parts, std::uint64_t num_nodes) {
  if (parts < 1 || parts > kMaxParts) {
    throw UsageError(fmt::format("--parts {} is out of range", parts),
                     fmt::format("give 1 to {}", kMaxParts));
  }
  if (num_nodes < static_cast<std::uint64_t>(parts)) {
    throw UsageError(fmt::format("{} nodes cannot fill {} parts", num_nodes, parts),
                     "give at most as many --parts as the graph has nodes");
  }
}

}  // namespace gsplit
