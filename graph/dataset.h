// A node-classification dataset on disk: GraphBolt's OnDiskDataset layout (metadata.yaml and .npy
// files), the format that `gsplit generate` and `gsplit import` write and that `gsplit train`
// reads. Never modified here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/npy.h"
#include "graph/task.h"

namespace gsplit {

/// Nodes of one split with their labels, in the order of the file. Of `labels` and `label_rows` the
/// one of the dataset's task is filled.
struct LabeledNodes {
  std::vector<std::uint64_t> nodes;  ///< OriginalIds
  std::vector<std::int32_t> labels;  ///< multi-class: same length, in [0, num_classes)
  std::vector<std::uint8_t>
      label_rows;  ///< multi-label: (nodes, num_classes), row by row, each 0 or 1
};

/// Owns mappings of the large arrays. Immutable after open(); safe to read from several threads.
struct Dataset {
  std::filesystem::path directory;
  std::string name;
  std::uint64_t num_nodes = 0;
  std::uint64_t num_edges = 0;
  std::uint64_t num_classes = 0;
  Task task = Task::kMultiClass;
  NpyArray edges;     ///< (2, num_edges) integers: row 0 sources, row 1 destinations
  NpyArray features;  ///< (num_nodes, F) f2, f4 or bf16
  /// (num_edges) or (num_edges, 1) f2, f4, f8 or integers; absent: the graph is unweighted
  std::optional<NpyArray> edge_weights;
  LabeledNodes train;       ///< never empty
  LabeledNodes validation;  ///< empty where the dataset has none, as test
  LabeledNodes test;

  std::uint64_t feature_width() const { return features.shape()[1]; }
};

/// Opens and checks what can be checked without reading the large arrays: the YAML's structure,
/// existence, dtypes, shapes and agreement of the arrays; that split nodes exist, are unique within
/// a split, carry a label in range, and carry the same label wherever they stand. The training
/// labels decide the task: (seeds) or (seeds, 1) is multi-class, (seeds, num_classes) of 0 and 1 is
/// multi-label, and all splits must be alike. Throws UsageError: file, fault, remedy in one line.
Dataset open_dataset(const std::filesystem::path& directory);

/// Reads the edges: every end below num_nodes, every weight at least 0 and finite as f4; else
/// UsageError as validate_arrays.
void validate_edges(const Dataset& dataset, int threads);

/// Reads the large arrays: edges as validate_edges, every feature finite. Throws UsageError naming
/// file and the first offending position. `threads` at least 1.
void validate_arrays(const Dataset& dataset, int threads);

/// out[i] = weight of edge edges[i], rounded to f4. REQUIRES: the dataset has valid weights; same
/// sizes.
void gather_edge_weights(const Dataset& dataset, std::span<const std::uint64_t> edges,
                         std::span<float> out, int threads);

/// 64 hex digits (SHA-256) over sizes, shapes, types and sampled contents of the dataset's files:
/// the same on every host that holds the same data; independent of path and times.
std::string content_fingerprint(const Dataset& dataset);

/// The in-memory description of a dataset to write; spans are borrowed.
struct DatasetArrays {
  std::string name;
  std::uint64_t num_nodes = 0;
  std::uint64_t num_classes = 0;
  LabeledNodes train, validation, test;
  bool edge_weights = false;  ///< whether edge_weight.npy, (edges), stands beside edges.npy
};

/// Writes metadata.yaml and the split arrays into `directory`, where edges.npy and feat.npy already
/// stand.
void write_dataset_metadata(const std::filesystem::path& directory, const DatasetArrays& arrays);

}  // namespace gsplit
