// Features, labels and splits that lie in arrays already.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "graph/import/node_labels.h"
#include "graph/npy.h"

namespace gsplit {

/// Writes (num_nodes, F) numbers to `npy` as `dtype`; without one f2, f4 and bf16 stay what they
/// are, others become f4. Throws UsageError naming node and column where one is not finite or the
/// type is too narrow for it, and for other shapes.
void convert_features(const NpyArray& features, std::uint64_t num_nodes,
                      const std::filesystem::path& npy, std::optional<DType> dtype);

/// Checks features that stand in their final place already: (num_nodes, F) f2, f4 or bf16, finite.
void check_features(const NpyArray& features, std::uint64_t num_nodes, int threads);

/// (num_nodes), (num_nodes, 1) or, of several labels a node, (num_nodes, C). NaN and -1 are
/// missing.
NodeLabels labels_of(const NpyArray& array, std::uint64_t num_nodes);

/// The same for the rows of `nodes` only, added to `labels`. Throws UsageError where a node has
/// another label already. `array`: one row for each of `nodes`.
void add_labels(const NpyArray& array, const std::vector<std::uint64_t>& nodes, NodeLabels& labels);

/// Columns of a label array of `rows` rows; UsageError for other shapes.
std::uint64_t label_columns(const NpyArray& array, std::uint64_t rows);

/// Nodes where a mask of (num_nodes) b1 or u1 is not 0.
std::vector<std::uint64_t> nodes_of_mask(const NpyArray& mask, std::uint64_t num_nodes);

/// (n) node ids below num_nodes, none twice.
std::vector<std::uint64_t> nodes_of(const NpyArray& ids, std::uint64_t num_nodes);

}  // namespace gsplit
