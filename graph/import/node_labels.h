// The labels of all nodes as an input gives them, and the splits made of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/dataset.h"
#include "graph/synthetic_nodes.h"
#include "kernels/base/log.h"

namespace gsplit {

/// Of a row that is taken apart in memory; more are taken for damage.
inline constexpr std::uint64_t kMostColumns = std::uint64_t{1} << 20;

/// A class a node, or several labels that hold or not.
struct NodeLabels {
  static constexpr std::int32_t kNone = -1;           ///< in `classes`: unlabelled
  static constexpr std::uint8_t kMissing = 2;         ///< in `rows`: not known
  static constexpr std::int32_t kMaxClass = 1 << 24;  ///< larger ones are taken for damage

  std::uint64_t num_nodes = 0;
  std::uint64_t columns = 1;
  std::vector<std::int32_t> classes;  ///< (num_nodes) where columns is 1
  std::vector<std::uint8_t> rows;     ///< (num_nodes, columns) of 0, 1, kMissing otherwise

  static NodeLabels unlabeled(std::uint64_t num_nodes, std::uint64_t columns);
  /// A node is labelled where no part of its label is missing.
  bool is_labeled(std::uint64_t node) const;
  /// Largest class + 1, or the number of columns; at least 1.
  std::uint64_t num_classes() const;
};

/// Stores a number as column `column` of a node's label; NaN is a missing one. False where it is no
/// label: not an integer, negative, beyond kMaxClass, or neither 0 nor 1 where there are several
/// columns.
bool store_label(NodeLabels& labels, std::uint64_t node, std::uint64_t column, double value);

/// Fills the splits and num_classes of `arrays`. Nodes without a label are left out; a warning
/// counts them. Throws UsageError where no training node remains.
void set_splits(const NodeLabels& labels, const SplitNodes& nodes, DatasetArrays& arrays,
                const Log& log);

/// Shares of the labelled nodes, drawn at random.
void set_random_splits(const NodeLabels& labels, const SplitShares& shares, std::uint64_t seed,
                       int threads, DatasetArrays& arrays, const Log& log);

}  // namespace gsplit
