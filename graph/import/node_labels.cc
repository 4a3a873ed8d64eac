#include "graph/import/node_labels.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gsplit {
namespace {

/// The nodes that have labels, with them; `left_out` counts the others.
LabeledNodes labeled_among(const NodeLabels& labels, const std::vector<std::uint64_t>& nodes,
                           std::uint64_t& left_out) {
  LabeledNodes split;
  for (const std::uint64_t node : nodes) {
    if (!labels.is_labeled(node)) {
      ++left_out;
      continue;
    }
    split.nodes.push_back(node);
    if (labels.columns == 1) {
      split.labels.push_back(labels.classes[node]);
    } else {
      const auto row = labels.rows.begin() + static_cast<std::ptrdiff_t>(node * labels.columns);
      split.label_rows.insert(split.label_rows.end(), row,
                              row + static_cast<std::ptrdiff_t>(labels.columns));
    }
  }
  return split;
}

}  // namespace

NodeLabels NodeLabels::unlabeled(std::uint64_t num_nodes, std::uint64_t columns) {
  NodeLabels labels;
  labels.num_nodes = num_nodes;
  labels.columns = columns;
  if (columns == 1) {
    labels.classes.assign(num_nodes, kNone);
  } else {
    labels.rows.assign(num_nodes * columns, kMissing);
  }
  return labels;
}

bool NodeLabels::is_labeled(std::uint64_t node) const {
  if (columns == 1) return classes[node] != kNone;
  const auto row = rows.begin() + static_cast<std::ptrdiff_t>(node * columns);
  return std::find(row, row + static_cast<std::ptrdiff_t>(columns), kMissing) ==
         row + static_cast<std::ptrdiff_t>(columns);
}

std::uint64_t NodeLabels::num_classes() const {
  if (columns > 1) return columns;
  const auto largest = std::max_element(classes.begin(), classes.end());
  return largest == classes.end() || *largest < 0 ? 1 : static_cast<std::uint64_t>(*largest) + 1;
}

bool store_label(NodeLabels& labels, std::uint64_t node, std::uint64_t column, double value) {
  const bool single = labels.columns == 1;
  if (std::isnan(value)) {
    if (single) {
      labels.classes[node] = NodeLabels::kNone;
    } else {
      labels.rows[node * labels.columns + column] = NodeLabels::kMissing;
    }
    return true;
  }
  if (!(value >= 0 && value <= (single ? NodeLabels::kMaxClass : 1)) ||
      std::trunc(value) != value) {
    return false;
  }
  if (single) {
    labels.classes[node] = static_cast<std::int32_t>(value);
  } else {
    labels.rows[node * labels.columns + column] = static_cast<std::uint8_t>(value);
  }
  return true;
}

void set_splits(const NodeLabels& labels, const SplitNodes& nodes, DatasetArrays& arrays,
                const Log& log) {
  std::uint64_t left_out = 0;
  arrays.num_classes = labels.num_classes();
  arrays.train = labeled_among(labels, nodes.train, left_out);
  arrays.validation = labeled_among(labels, nodes.validation, left_out);
  arrays.test = labeled_among(labels, nodes.test, left_out);
  if (arrays.train.nodes.empty()) {
    throw UsageError("no training node has a label",
                     "give labels to the training nodes, or other splits with --split");
  }
  if (left_out > 0) {
    log.warning(std::to_string(left_out) + " nodes of the splits have no label and are left out");
  }
}

void set_random_splits(const NodeLabels& labels, const SplitShares& shares, std::uint64_t seed,
                       int threads, DatasetArrays& arrays, const Log& log) {
  if (labels.num_nodes > std::uint64_t{1} << 32) {
    throw UsageError("random splits of more than 2^32 nodes are not supported",
                     "give the splits with the data");
  }
  std::vector<std::uint32_t> candidates;
  for (std::uint64_t v = 0; v < labels.num_nodes; ++v) {
    if (labels.is_labeled(v)) candidates.push_back(static_cast<std::uint32_t>(v));
  }
  check_split_shares(candidates.size(), shares);
  set_splits(labels, draw_splits(candidates, shares, seed, threads), arrays, log);
}

}  // namespace gsplit
