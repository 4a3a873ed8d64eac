// Tables of numbers as headerless csv, perhaps compressed: OGB's features, labels, counts and
// splits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "graph/import/node_labels.h"
#include "kernels/base/dtype.h"

namespace gsplit {

/// All throw UsageError naming file and line where a value is no number, a row has another number
/// of columns than the first one, or there are more or fewer rows than `num_nodes`. Memory is
/// bounded by blocks of 16 MiB and by the result, which grows as rows come.

/// The file's only number. Several, as OGB writes for several graphs, are refused.
std::uint64_t read_csv_count(const std::filesystem::path& path);

/// Node ids, one a line, each below `num_nodes` and none twice.
std::vector<std::uint64_t> read_csv_nodes(const std::filesystem::path& path,
                                          std::uint64_t num_nodes);

/// Labels, one row a node, of one column or several; an empty field or NaN is a missing label.
NodeLabels read_csv_labels(const std::filesystem::path& path, std::uint64_t num_nodes);

struct CsvFeatures {
  std::filesystem::path npy;
  DType dtype = DType::kF32;  ///< or fp16, bf16
  int threads = 1;
};

/// Writes one row a node as (num_nodes, columns) to `to.npy`; every value must be finite and fit
/// the type. Returns the number of columns.
std::uint64_t convert_csv_features(const std::filesystem::path& path, std::uint64_t num_nodes,
                                   const CsvFeatures& to, const Log& log);

}  // namespace gsplit
