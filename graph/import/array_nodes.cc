#include "graph/import/array_nodes.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "graph/features.h"
#include "graph/import/array_edges.h"
#include "graph/import/feature_writer.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kChunk = std::uint64_t{1} << 18;  // values

[[noreturn]] void refuse(const NpyArray& array, const std::string& fault,
                         const std::string& remedy) {
  throw UsageError(array.path().string() + " " + fault, remedy);
}

void require_feature_shape(const NpyArray& features, std::uint64_t num_nodes) {
  const auto& shape = features.shape();
  if (shape.size() == 2 && shape[0] == num_nodes && shape[1] > 0) return;
  refuse(features, "has not the shape (" + std::to_string(num_nodes) + ", width)",
         "give one row of features a node");
}

/// Values `at` .. `at + count` as floats.
void read_values(const NpyArray& features, std::uint64_t at, std::uint64_t count,
                 std::vector<float>& out) {
  if (!feature_dtype(features.type())) return read_floats(features, at, count, out);
  out.resize(count);
  visit_features(features, [&](auto values) {
    for (std::uint64_t i = 0; i < count; ++i) out[i] = widened(values[at + i]);
  });
}

/// f(span) for any type of number; b1 as u1.
template <class F>
void visit_numbers(const NpyArray& array, F&& f) {
  if (array.type() == NpyType{'f', 4}) return f(array.as<float>());
  if (array.type() == NpyType{'f', 8}) return f(array.as<double>());
  if (array.type().kind == 'b') {
    return f(std::span(reinterpret_cast<const std::uint8_t*>(array.bytes().data()),
                       array.num_elements()));
  }
  array.visit_integers(f);
}

/// -1 says "no label" as NaN does.
double label_value(double stored) { return stored == -1 ? std::nan("") : stored; }

bool same_label(const NodeLabels& labels, std::uint64_t node, std::uint64_t column, double value) {
  const double known =
      labels.columns == 1 ? labels.classes[node] : labels.rows[node * labels.columns + column];
  const double none = labels.columns == 1 ? NodeLabels::kNone : NodeLabels::kMissing;
  return known == none || known == value;
}

}  // namespace

void check_features(const NpyArray& features, std::uint64_t num_nodes, int threads) {
  require_feature_shape(features, num_nodes);
  if (!feature_dtype(features.type())) {
    refuse(features, "holds " + features.type().name() + ", expected f2, f4 or bf16",
           "save it as float32 or float16");
  }
  check_finite(features, threads);
}

void convert_features(const NpyArray& features, std::uint64_t num_nodes,
                      const std::filesystem::path& npy, std::optional<DType> dtype) {
  require_feature_shape(features, num_nodes);
  const DType to = dtype.value_or(feature_dtype(features.type()).value_or(DType::kF32));
  const std::uint64_t width = features.shape()[1];
  FeatureWriter out(npy, features.path(), to);
  std::vector<float> values;
  for (std::uint64_t at = 0; at < features.num_elements(); at += values.size()) {
    read_values(features, at, std::min(kChunk, features.num_elements() - at), values);
    out.append(values, width);
  }
  out.finish(num_nodes, width);
}

std::uint64_t label_columns(const NpyArray& array, std::uint64_t rows) {
  const auto& shape = array.shape();
  if ((shape.size() != 1 && shape.size() != 2) || shape[0] != rows ||
      (shape.size() == 2 && shape[1] == 0)) {
    refuse(array, "does not hold " + std::to_string(rows) + " rows of labels",
           "give an array of shape (rows) or (rows, labels)");
  }
  return shape.size() == 2 ? shape[1] : 1;
}

void add_labels(const NpyArray& array, const std::vector<std::uint64_t>& nodes,
                NodeLabels& labels) {
  const std::uint64_t columns = label_columns(array, nodes.size());
  if (columns != labels.columns) {
    refuse(array,
           "has " + std::to_string(columns) + " labels a node, others have " +
               std::to_string(labels.columns),
           "give all splits the same labels");
  }
  visit_numbers(array, [&](auto stored) {
    for (std::uint64_t i = 0; i < stored.size(); ++i) {
      const std::uint64_t node = nodes[i / columns];
      const double value = label_value(static_cast<double>(stored[i]));
      const bool agrees = std::isnan(value) || same_label(labels, node, i % columns, value);
      if (agrees && (std::isnan(value) || store_label(labels, node, i % columns, value))) continue;
      refuse(array,
             (agrees ? "holds no label at position " : "gives another label at position ") +
                 std::to_string(i) + ", for node " + std::to_string(node),
             "give classes from 0, or 0 and 1 where there are several labels");
    }
  });
}

NodeLabels labels_of(const NpyArray& array, std::uint64_t num_nodes) {
  NodeLabels labels = NodeLabels::unlabeled(num_nodes, label_columns(array, num_nodes));
  visit_numbers(array, [&](auto stored) {
    for (std::uint64_t i = 0; i < stored.size(); ++i) {
      if (store_label(labels, i / labels.columns, i % labels.columns,
                      label_value(static_cast<double>(stored[i])))) {
        continue;
      }
      refuse(array, "holds no label at position " + std::to_string(i),
             "give classes from 0, or 0 and 1 where there are several labels");
    }
  });
  return labels;
}

std::vector<std::uint64_t> nodes_of_mask(const NpyArray& mask, std::uint64_t num_nodes) {
  if (mask.type().bytes != 1 || mask.shape().size() != 1 || mask.shape()[0] != num_nodes) {
    refuse(mask, "is no mask of the " + std::to_string(num_nodes) + " nodes",
           "give a bool array of shape (nodes)");
  }
  std::vector<std::uint64_t> nodes;
  for (std::uint64_t v = 0; v < num_nodes; ++v) {
    if (mask.bytes()[v] != std::byte{0}) nodes.push_back(v);
  }
  return nodes;
}

std::vector<std::uint64_t> nodes_of(const NpyArray& ids, std::uint64_t num_nodes) {
  if (ids.shape().size() != 1) refuse(ids, "is no list of nodes", "give an array of shape (nodes)");
  std::vector<std::uint64_t> nodes;
  read_ids(ids, 0, ids.num_elements(), num_nodes, nodes);
  std::vector<std::uint64_t> sorted = nodes;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    refuse(ids, "holds node " + std::to_string(*twice) + " twice", "keep one of them");
  }
  return nodes;
}

}  // namespace gsplit
