#include "graph/dataset.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "graph/dataset_description.h"
#include "graph/features.h"
#include "graph/parallel_scan.h"
#include "kernels/base/dtype.h"

namespace gsplit {
namespace {

[[noreturn]] void refuse(const NpyArray& array, const std::string& fault,
                         const std::string& remedy) {
  throw UsageError(array.path().string() + " " + fault, remedy);
}

std::string shape_text(const NpyArray& array) {
  std::string text;
  for (const std::uint64_t dimension : array.shape()) {
    text += (text.empty() ? "(" : ", ") + std::to_string(dimension);
  }
  return text.empty() ? "()" : text + ")";
}

bool is_integer(const NpyArray& array) {
  return array.type().kind == 'i' || array.type().kind == 'u';
}

std::span<const std::uint8_t> bytes_of(const NpyArray& array) {
  return {reinterpret_cast<const std::uint8_t*>(array.bytes().data()), array.bytes().size()};
}

NpyArray open_edges(const std::filesystem::path& path) {
  NpyArray edges = NpyArray::open(path);
  if (!is_integer(edges)) {
    refuse(edges, "holds " + edges.type().name() + ", expected integer node ids",
           "save it as int32 or int64");
  }
  if (edges.shape().size() != 2 || edges.shape()[0] != 2) {
    refuse(edges, "has shape " + shape_text(edges) + ", expected (2, edges)",
           "save sources as row 0 and destinations as row 1");
  }
  return edges;
}

NpyArray open_features(const std::filesystem::path& path, std::uint64_t num_nodes) {
  NpyArray features = NpyArray::open(path);
  const auto& shape = features.shape();
  if (!feature_dtype(features.type())) {
    refuse(features, "holds " + features.type().name() + ", expected f2, f4 or bf16",
           "save it as float32 or float16");
  }
  if (shape.size() != 2 || shape[0] != num_nodes || shape[1] == 0) {
    refuse(features,
           "has shape " + shape_text(features) + ", expected (" + std::to_string(num_nodes) +
               ", width)",
           "give one row for each of the graph's nodes");
  }
  return features;
}

NpyArray open_edge_weights(const std::filesystem::path& path, std::uint64_t num_edges) {
  NpyArray weights = NpyArray::open(path);
  if (!is_integer(weights) && weights.type().kind != 'f') {
    refuse(weights, "holds " + weights.type().name() + ", expected numbers",
           "save it as float32 or float64");
  }
  const auto& shape = weights.shape();
  const bool column = shape.size() == 2 && shape[1] == 1;
  if ((shape.size() != 1 && !column) || shape[0] != num_edges) {
    refuse(weights,
           "has shape " + shape_text(weights) + ", expected (" + std::to_string(num_edges) + ")",
           "give one weight for each edge, in the order of the edge list");
  }
  return weights;
}

std::string at_position(std::size_t position) { return " at position " + std::to_string(position); }

std::vector<std::uint64_t> read_seeds(const NpyArray& array, std::uint64_t num_nodes) {
  if (array.shape().size() != 1) {
    refuse(array, "has shape " + shape_text(array) + ", expected (seeds)",
           "give node ids; edges as seeds are not supported");
  }
  std::vector<std::uint64_t> seeds(array.num_elements());
  array.visit_integers([&](auto ids) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      seeds[i] = static_cast<std::uint64_t>(ids[i]);  // a negative id becomes 2^63 or more
      if (seeds[i] >= num_nodes) {
        refuse(array,
               "holds node " + std::to_string(ids[i]) + at_position(i) + ", the graph has " +
                   std::to_string(num_nodes) + " nodes",
               "correct the ids");
      }
    }
  });
  return seeds;
}

/// The class that a stored label means, where it means one.
template <class T>
std::optional<std::int32_t> to_class(T label, std::uint64_t num_classes) {
  if constexpr (std::is_floating_point_v<T>) {
    // Comparisons are false for NaN.
    if (!(label >= T{0} && static_cast<double>(label) < static_cast<double>(num_classes) &&
          std::trunc(label) == label)) {
      return std::nullopt;
    }
  } else if (static_cast<std::uint64_t>(label) >= num_classes) {
    return std::nullopt;
  }
  return static_cast<std::int32_t>(label);
}

template <class T>
void convert_labels(const NpyArray& array, std::span<const T> stored, std::uint64_t num_classes,
                    std::vector<std::int32_t>& labels) {
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const auto label = to_class(stored[i], num_classes);
    if (!label) {
      refuse(array,
             "holds label " + std::to_string(stored[i]) + at_position(i) +
                 ", expected an integer from 0 to " + std::to_string(num_classes - 1),
             "correct the labels or num_classes, and leave unlabelled nodes out of the splits");
    }
    labels[i] = *label;
  }
}

/// The task that labels of this shape are for.
Task task_of(const NpyArray& array, std::uint64_t num_classes) {
  const auto& shape = array.shape();
  if (shape.size() == 1 || (shape.size() == 2 && shape[1] == 1)) {  // (n, 1) as OGB stores them
    return Task::kMultiClass;
  }
  if (shape.size() != 2 || shape[1] != num_classes) {
    const std::string columns = std::to_string(num_classes);
    refuse(array,
           "has shape " + shape_text(array) + ", expected (seeds) or (seeds, " + columns + ")",
           "give one class a node, or " + columns + " columns of 0 and 1 for a multi-label task");
  }
  return Task::kMultiLabel;
}

std::vector<std::int32_t> read_classes(const NpyArray& array, std::uint64_t num_classes) {
  std::vector<std::int32_t> labels(array.num_elements());
  if (array.type() == NpyType{'f', 4}) {
    convert_labels(array, array.as<float>(), num_classes, labels);
  } else if (array.type() == NpyType{'f', 8}) {
    convert_labels(array, array.as<double>(), num_classes, labels);
  } else {
    array.visit_integers([&](auto stored) { convert_labels(array, stored, num_classes, labels); });
  }
  return labels;
}

template <class T>
std::vector<std::uint8_t> convert_label_rows(const NpyArray& array, std::span<const T> stored) {
  const std::uint64_t columns = array.shape()[1];
  std::vector<std::uint8_t> rows(stored.size());
  for (std::size_t i = 0; i < stored.size(); ++i) {
    rows[i] = stored[i] == T{1};
    if (stored[i] != T{0} && stored[i] != T{1}) {  // true for NaN
      refuse(array,
             "holds " + std::to_string(stored[i]) + at_position(i / columns) + ", column " +
                 std::to_string(i % columns) + ", expected 0 or 1",
             "a multi-label task has 1 for each label that holds and 0 for the others");
    }
  }
  return rows;
}

std::vector<std::uint8_t> read_label_rows(const NpyArray& array) {
  std::vector<std::uint8_t> rows;
  if (array.type() == NpyType{'f', 4}) return convert_label_rows(array, array.as<float>());
  if (array.type() == NpyType{'f', 8}) return convert_label_rows(array, array.as<double>());
  if (array.type().kind == 'b') return convert_label_rows(array, bytes_of(array));
  array.visit_integers([&](auto stored) { rows = convert_label_rows(array, stored); });
  return rows;
}

struct Labeled {
  std::uint64_t node;
  std::size_t position;
};

std::vector<Labeled> sorted_by_node(const LabeledNodes& split) {
  std::vector<Labeled> entries(split.nodes.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i] = {split.nodes[i], i};
  }
  std::sort(entries.begin(), entries.end(), [](const Labeled& a, const Labeled& b) {
    return std::pair(a.node, a.position) < std::pair(b.node, b.position);
  });
  return entries;
}

void check_unique(const NpyArray& seeds, const std::vector<Labeled>& sorted) {
  const auto twice =
      std::adjacent_find(sorted.begin(), sorted.end(),
                         [](const Labeled& a, const Labeled& b) { return a.node == b.node; });
  if (twice == sorted.end()) return;
  refuse(seeds,
         "holds node " + std::to_string(twice->node) + " twice, at positions " +
             std::to_string(twice[0].position) + " and " + std::to_string(twice[1].position),
         "keep one of them: an epoch uses each node once");
}

/// A split as read, with what is needed to name its faults.
struct SplitArrays {
  NpyArray seeds;
  NpyArray labels;
  Task task = Task::kMultiClass;
  std::vector<Labeled> sorted;
  LabeledNodes content;
};

bool is_absent(const SplitArrays& split) { return split.labels.path().empty(); }

SplitArrays open_split(const SplitFiles& files, const DatasetDescription& description) {
  SplitArrays split{.seeds = NpyArray::open(files.seeds), .labels = NpyArray::open(files.labels)};
  split.content.nodes = read_seeds(split.seeds, description.num_nodes);
  split.task = task_of(split.labels, description.num_classes);
  if (split.task == Task::kMultiLabel) {
    split.content.label_rows = read_label_rows(split.labels);
  } else {
    split.content.labels = read_classes(split.labels, description.num_classes);
  }
  if (split.content.nodes.size() != split.labels.shape()[0]) {
    refuse(split.labels,
           "has " + std::to_string(split.labels.shape()[0]) + " labels for " +
               std::to_string(split.content.nodes.size()) + " seeds of " +
               files.seeds.filename().string(),
           "give one label a seed");
  }
  split.sorted = sorted_by_node(split.content);
  check_unique(split.seeds, split.sorted);
  return split;
}

SplitArrays open_split(const std::optional<SplitFiles>& files,
                       const DatasetDescription& description) {
  return files ? open_split(*files, description) : SplitArrays{};
}

/// Labels a node: one class, or a row of 0 and 1.
std::size_t label_columns(const SplitArrays& split) {
  return split.task == Task::kMultiLabel ? split.labels.shape()[1] : 1;
}

std::int32_t label_at(const SplitArrays& split, std::size_t position, std::size_t column) {
  if (split.task == Task::kMultiClass) return split.content.labels[position];
  return split.content.label_rows[position * label_columns(split) + column];
}

std::string label_text(const SplitArrays& split, std::size_t position, std::size_t column) {
  const std::string label = std::to_string(label_at(split, position, column));
  if (split.task == Task::kMultiClass) return "class " + label;
  return "the value " + label + " in column " + std::to_string(column);
}

/// The node of `a` in `one` and of `b` in `other` is the same, and so must be its labels.
void check_same_label(const SplitArrays& one, const Labeled& a, const SplitArrays& other,
                      const Labeled& b) {
  for (std::size_t column = 0; column < label_columns(other); ++column) {
    if (label_at(one, a.position, column) == label_at(other, b.position, column)) continue;
    refuse(other.labels,
           "gives node " + std::to_string(b.node) + " " + label_text(other, b.position, column) +
               at_position(b.position) + ", and " + one.labels.path().filename().string() + " " +
               label_text(one, a.position, column),
           "give a node the same label wherever it stands");
  }
}

/// REQUIRES: the same task.
void check_same_labels(const SplitArrays& one, const SplitArrays& other) {
  auto a = one.sorted.begin();
  for (const Labeled& b : other.sorted) {
    while (a != one.sorted.end() && a->node < b.node) ++a;
    if (a == one.sorted.end()) return;
    if (a->node == b.node) check_same_label(one, *a, other, b);
  }
}

void check_same_task(const SplitArrays& train, const SplitArrays& other) {
  if (is_absent(other) || other.task == train.task) return;
  refuse(other.labels,
         "has shape " + shape_text(other.labels) + ", and " +
             train.labels.path().filename().string() + " has " + shape_text(train.labels),
         "give all splits one class a node, or all of them a column for each label");
}

void read_splits(const DatasetDescription& description, Dataset& dataset) {
  SplitArrays train = open_split(description.train, description);
  SplitArrays validation = open_split(description.validation, description);
  SplitArrays test = open_split(description.test, description);
  if (train.content.nodes.empty()) {
    refuse(train.seeds, "is empty", "give at least one training node");
  }
  check_same_task(train, validation);
  check_same_task(train, test);
  check_same_labels(train, validation);
  check_same_labels(train, test);
  check_same_labels(validation, test);
  dataset.task = train.task;
  dataset.train = std::move(train.content);
  dataset.validation = std::move(validation.content);
  dataset.test = std::move(test.content);
}

float as_number(Half stored) { return to_float(stored); }
template <class T>
T as_number(T stored) {
  return stored;
}

/// Calls f(span of the weights as they are stored).
template <class F>
void visit_weights(const NpyArray& weights, F&& f) {
  if (weights.type() == NpyType{'f', 2}) return f(weights.as<Half>());
  if (weights.type() == NpyType{'f', 4}) return f(weights.as<float>());
  if (weights.type() == NpyType{'f', 8}) return f(weights.as<double>());
  weights.visit_integers(f);
}

void validate_edge_weights(const NpyArray& weights, int threads) {
  visit_weights(weights, [&](auto stored) {
    const auto position = first_where(stored, threads, [](auto weight) {
      // False for NaN too.
      return !(static_cast<double>(as_number(weight)) >= 0 &&
               static_cast<double>(as_number(weight)) <= std::numeric_limits<float>::max());
    });
    if (!position) return;
    refuse(weights,
           "holds " + std::to_string(as_number(stored[*position])) + " at edge " +
               std::to_string(*position) + ", expected a finite weight of at least 0",
           "correct the weights");
  });
}

}  // namespace

Dataset open_dataset(const std::filesystem::path& directory) {
  const std::filesystem::path metadata = directory / "metadata.yaml";
  std::error_code unreadable;
  if (!std::filesystem::exists(metadata, unreadable)) {
    throw UsageError(directory.string() + " is not a dataset: it has no metadata.yaml",
                     "give a directory in GraphBolt's OnDiskDataset layout");
  }
  const DatasetDescription description = read_dataset_description(metadata);
  Dataset dataset;
  dataset.directory = directory;
  dataset.name = description.name;
  dataset.num_nodes = description.num_nodes;
  dataset.num_classes = description.num_classes;
  dataset.edges = open_edges(description.edges);
  dataset.num_edges = dataset.edges.shape()[1];
  dataset.features = open_features(description.features, description.num_nodes);
  if (description.edge_weights) {
    dataset.edge_weights = open_edge_weights(*description.edge_weights, dataset.num_edges);
  }
  read_splits(description, dataset);
  return dataset;
}

void validate_edges(const Dataset& dataset, int threads) {
  dataset.edges.visit_integers([&](auto ends) {
    // The cast turns a negative id into 2^63 or more: one comparison checks both ends of the range.
    const auto position = first_where(ends, threads, [limit = dataset.num_nodes](auto id) {
      return static_cast<std::uint64_t>(id) >= limit;
    });
    if (!position) return;
    const bool source = *position < dataset.num_edges;
    refuse(dataset.edges,
           "holds " + std::string(source ? "source " : "destination ") +
               std::to_string(ends[*position]) + " at edge " +
               std::to_string(source ? *position : *position - dataset.num_edges) +
               ", the graph has " + std::to_string(dataset.num_nodes) + " nodes",
           "correct the ids or num in metadata.yaml");
  });
  if (dataset.edge_weights) validate_edge_weights(*dataset.edge_weights, threads);
}

void gather_edge_weights(const Dataset& dataset, std::span<const std::uint64_t> edges,
                         std::span<float> out, int threads) {
  GSPLIT_CHECK(dataset.edge_weights && edges.size() == out.size());
  visit_weights(*dataset.edge_weights, [&](auto stored) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::size_t i = 0; i < edges.size(); ++i) {
      out[i] = static_cast<float>(as_number(stored[edges[i]]));
    }
  });
}

void validate_arrays(const Dataset& dataset, int threads) {
  validate_edges(dataset, threads);
  check_finite(dataset.features, threads);
}

}  // namespace gsplit
