#include "partition/simple_partitioners.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "graph/npy.h"
#include "kernels/base/error.h"
#include "kernels/base/philox.h"

namespace gsplit {
namespace {

/// First node of part `part` if the prefix sums of (1 + in-degree) are cut into equal pieces.
std::uint64_t balanced_cut(const CscView& graph, int part, int parts) {
  const std::uint64_t total = graph.num_nodes() + graph.num_edges();
  // The prefix sum at node v is v + indptr[v]: ascending, so a binary search over nodes finds it.
  const auto target = static_cast<std::uint64_t>(static_cast<long double>(total) * part / parts);
  std::uint64_t low = 0, high = graph.num_nodes();
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (middle + static_cast<std::uint64_t>(graph.indptr[middle]) < target) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

template <class T>
Assignment checked_copy(std::span<const T> values, int parts, const std::string& file) {
  Assignment assignment(values.size());
  for (std::size_t v = 0; v < values.size(); ++v) {
    if (std::cmp_less(values[v], 0) || std::cmp_greater_equal(values[v], parts)) {
      throw UsageError(fmt::format("{}: node {} has part {}", file, v, values[v]),
                       fmt::format("parts must be 0 to {} (--parts {})", parts - 1, parts));
    }
    assignment[v] = static_cast<PartId>(values[v]);
  }
  return assignment;
}

}  // namespace

Assignment random_partition(std::uint64_t num_nodes, int parts, std::uint64_t seed) {
  check_part_count(parts, num_nodes);
  // Layer 1 keeps these draws apart from those of the epoch permutations.
  const DrawKey key{.seed = seed, .purpose = Purpose::kPermutation, .layer = 1};
  std::vector<std::pair<std::uint64_t, std::uint64_t>> order(num_nodes);
  for (std::uint64_t v = 0; v < num_nodes; ++v) {
    const PhiloxBlock random = draw(key, v, 0);
    order[v] = {(std::uint64_t{random.word[0]} << 32) | random.word[1], v};
  }
  std::sort(order.begin(), order.end());
  Assignment assignment(num_nodes);
  for (std::uint64_t i = 0; i < num_nodes; ++i) {
    assignment[order[i].second] = static_cast<PartId>(i % static_cast<std::uint64_t>(parts));
  }
  return assignment;
}

Assignment range_partition(const CscView& graph, int parts) {
  const std::uint64_t nodes = graph.num_nodes();
  check_part_count(parts, nodes);
  Assignment assignment(nodes);
  std::uint64_t begin = 0;
  for (int part = 0; part < parts; ++part) {
    // Every part keeps at least one node, whatever the degrees.
    const auto later = static_cast<std::uint64_t>(parts - part - 1);
    const std::uint64_t end =
        std::clamp(balanced_cut(graph, part + 1, parts), begin + 1, nodes - later);
    std::fill(assignment.begin() + static_cast<std::ptrdiff_t>(begin),
              assignment.begin() + static_cast<std::ptrdiff_t>(end), static_cast<PartId>(part));
    begin = end;
  }
  return assignment;
}

Assignment read_assignment(const std::filesystem::path& file, std::uint64_t num_nodes, int parts) {
  check_part_count(parts, num_nodes);
  const NpyArray array = NpyArray::open(file);
  if (array.shape() != std::vector<std::uint64_t>{num_nodes}) {
    throw UsageError(fmt::format("{}: the shape is not ({})", file.string(), num_nodes),
                     "give one part for each node of the dataset");
  }
  Assignment assignment;
  array.visit_integers(
      [&](auto values) { assignment = checked_copy(values, parts, file.string()); });
  const std::vector<std::uint64_t> sizes = part_sizes(assignment, parts);
  const auto empty = std::find(sizes.begin(), sizes.end(), 0u);
  if (empty != sizes.end()) {
    throw UsageError(fmt::format("{}: part {} has no nodes", file.string(), empty - sizes.begin()),
                     "give every part a node or a smaller --parts");
  }
  return assignment;
}

}  // namespace gsplit
