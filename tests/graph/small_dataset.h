// A valid dataset of five nodes and seven edges on disk, to be read or to be damaged.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "graph/npy.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {

template <class T>
void write_values(const std::filesystem::path& path, const std::vector<T>& values,
                  std::vector<std::uint64_t> shape = {}) {
  if (shape.empty()) shape = {values.size()};
  write_npy<T>(path, values, std::move(shape));
}

inline const std::string& small_metadata() {
  static const std::string text = R"(dataset_name: small
graph:
  nodes: [{num: 5}]
  edges: [{format: numpy, path: edges.npy}]
feature_data:
  - {domain: node, name: feat, format: numpy, in_memory: true, path: feat.npy}
tasks:
  - name: node_classification
    num_classes: 3
    train_set: [{data: [{name: seeds, format: numpy, path: train_seeds.npy},
                        {name: labels, format: numpy, path: train_labels.npy}]}]
    validation_set: [{data: [{name: seeds, format: numpy, path: valid_seeds.npy},
                             {name: labels, format: numpy, path: valid_labels.npy}]}]
    test_set: [{data: [{name: seeds, format: numpy, path: test_seeds.npy},
                       {name: labels, format: numpy, path: test_labels.npy}]}]
)";
  return text;
}

/// Sources 4 0 1 2 2 3 0, destinations 0 1 2 0 0 4 4: node 0 has in-neighbours 2 2 4, node 3 none.
inline void write_small_dataset(const std::filesystem::path& directory) {
  write_file(directory / "metadata.yaml", small_metadata());
  write_values<std::int32_t>(directory / "edges.npy", {4, 0, 1, 2, 2, 3, 0, 0, 1, 2, 0, 0, 4, 4},
                             {2, 7});
  write_values<float>(directory / "feat.npy", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {5, 2});
  write_values<std::int64_t>(directory / "train_seeds.npy", {3, 0});
  write_values<std::int64_t>(directory / "train_labels.npy", {2, 0});
  write_values<std::int64_t>(directory / "valid_seeds.npy", {1});
  write_values<std::int64_t>(directory / "valid_labels.npy", {1});
  write_values<std::int64_t>(directory / "test_seeds.npy", {2, 4});
  write_values<std::int64_t>(directory / "test_labels.npy", {0, 1});
}

}  // namespace gsplit
