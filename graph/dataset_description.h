// metadata.yaml of a GraphBolt OnDiskDataset as the names and paths that it gives; no array is
// opened here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace gsplit {

struct SplitFiles {
  std::filesystem::path seeds;
  std::filesystem::path labels;
};

struct DatasetDescription {
  std::string name;
  std::uint64_t num_nodes = 0;    ///< positive, below 2^63
  std::uint64_t num_classes = 0;  ///< positive, below 2^31
  std::filesystem::path edges;
  bool csv_edges = false;  ///< whether `edges` is csv, where that is allowed
  std::filesystem::path features;
  std::optional<std::filesystem::path> edge_weights;  ///< absent where no entry gives them
  SplitFiles train;
  std::optional<SplitFiles> validation;  ///< absent where the file has no such set
  std::optional<SplitFiles> test;
};

/// Formats that a description may give its edges.
enum class EdgeFormats { kNumpy, kNumpyOrCsv };

/// Reads a homogeneous node-classification dataset. Throws UsageError naming file, line, key and
/// remedy for anything else: malformed YAML, missing keys, typed nodes or edges, formats other than
/// numpy, but for edges in `formats`. Paths are resolved against the file's directory.
DatasetDescription read_dataset_description(const std::filesystem::path& file,
                                            EdgeFormats formats = EdgeFormats::kNumpy);

}  // namespace gsplit
