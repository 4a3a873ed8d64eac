// One .npz: arrays under the names of PyG and OGB, or the sparse matrices of the gnn-benchmark
// files (Amazon, Coauthor, Planetoid as CSR).
#include <algorithm>
#include <utility>

#include "graph/import/array_edges.h"
#include "graph/import/array_nodes.h"
#include "graph/import/feature_writer.h"
#include "graph/import/import_job.h"
#include "graph/import/npz_archive.h"

namespace gsplit {
namespace {

NpyArray extract(const ImportJob& job, const NpzArchive& archive, const std::string& name) {
  return archive.extract(name, job.scratch() / (name + ".npy"));
}

std::optional<NpyArray> extract_if_there(const ImportJob& job, const NpzArchive& archive,
                                         const std::string& name) {
  if (!archive.has(name)) return std::nullopt;
  return extract(job, archive, name);
}

/// The first of `names` that the archive has.
std::string required(const ImportJob& job, const NpzArchive& archive,
                     std::initializer_list<const char*> names) {
  if (const auto found = archive.first_of(names)) return *found;
  std::string list;
  for (const char* name : names) list += (list.empty() ? "" : ", ") + std::string(name);
  throw UsageError(job.options().input.string() + " has none of the arrays " + list,
                   "see the keys in docs/formats.md");
}

struct SparseMatrix {
  std::vector<std::uint64_t> bounds;
  NpyArray indices;
  NpyArray data;
  std::uint64_t columns = 0;
};

/// PREFIX_indptr, PREFIX_indices, PREFIX_data and PREFIX_shape.
SparseMatrix read_sparse(const ImportJob& job, const NpzArchive& archive,
                         const std::string& prefix) {
  SparseMatrix matrix;
  const NpyArray shape = extract(job, archive, prefix + "_shape");
  std::vector<std::uint64_t> sides;
  read_ids(shape, 0, shape.num_elements(), kMostColumns, sides);
  const NpyArray indptr = extract(job, archive, prefix + "_indptr");
  matrix.indices = extract(job, archive, prefix + "_indices");
  matrix.data = extract(job, archive, prefix + "_data");
  matrix.bounds = read_row_bounds(indptr, matrix.indices.num_elements());
  if (sides.size() != 2 || sides[0] != matrix.bounds.size() - 1 || sides[1] == 0 ||
      matrix.data.num_elements() != matrix.indices.num_elements()) {
    throw UsageError(shape.path().string() + " does not fit the arrays beside it",
                     "write the matrix again");
  }
  matrix.columns = sides[1];
  return matrix;
}

/// The matrix row by row, as f4; entries of one place add up.
void write_dense(const ImportJob& job, const SparseMatrix& matrix) {
  const std::uint64_t rows = matrix.bounds.size() - 1;
  job.announce_files("features", rows * matrix.columns * sizeof(float));
  std::vector<std::uint64_t> at;
  std::vector<float> values;
  FeatureWriter out(job.directory() / "feat.npy", matrix.data.path(),
                    job.options().feature_dtype.value_or(DType::kF32));
  for (std::uint64_t r = 0; r < rows; ++r) {
    const std::uint64_t entries = matrix.bounds[r + 1] - matrix.bounds[r];
    read_ids(matrix.indices, matrix.bounds[r], entries, matrix.columns, at);
    read_floats(matrix.data, matrix.bounds[r], entries, values);
    std::vector<float> row(matrix.columns);
    for (std::size_t i = 0; i < at.size(); ++i) row[at[i]] += values[i];
    out.append(row, matrix.columns);
  }
  out.finish(rows, matrix.columns);
}

/// Writes feat.npy; returns the number of nodes.
std::uint64_t import_features(const ImportJob& job, const NpzArchive& archive) {
  if (archive.has("attr_indptr")) {
    const SparseMatrix matrix = read_sparse(job, archive, "attr");
    write_dense(job, matrix);
    return matrix.bounds.size() - 1;
  }
  const std::string name =
      required(job, archive, {"x", "node_feat", "features", "feat", "attr_matrix"});
  job.announce_files("features", archive.stated_bytes(name));
  const NpyArray features = extract(job, archive, name);
  if (features.shape().empty() || features.shape()[0] == 0) {
    throw UsageError(features.path().string() + " holds no node", "give one row a node");
  }
  convert_features(features, features.shape()[0], job.directory() / "feat.npy",
                   job.options().feature_dtype);
  return features.shape()[0];
}

/// Edges of edge_index (2, E), or of the matrix adj: row -> column; its values are ones in the
/// files of gnn-benchmark, and left alone.
void import_graph(ImportJob& job, const NpzArchive& archive, std::uint64_t nodes) {
  if (archive.has("adj_indptr")) {
    NpyArray indices = extract(job, archive, "adj_indices");
    job.announce_edges(indices.num_elements(), true);
    CsrEdgeReader reader(extract(job, archive, "adj_indptr"), std::move(indices), std::nullopt);
    if (reader.num_rows() != nodes) {
      throw UsageError(job.options().input.string() + " has an adjacency of " +
                           std::to_string(reader.num_rows()) + " rows and features of " +
                           std::to_string(nodes) + " nodes",
                       "write the file again");
    }
    return job.import_edges(reader, nodes);
  }
  NpyArray edges = extract(job, archive, required(job, archive, {"edge_index", "adj_indptr"}));
  job.announce_edges(edges.num_elements() / 2, true);
  ArrayEdgeReader reader(std::move(edges), extract_if_there(job, archive, "edge_weight"), nodes);
  job.import_edges(reader, nodes);
}

/// Masks, or lists of ids; nothing where there are none.
std::optional<SplitNodes> read_splits(const ImportJob& job, const NpzArchive& archive,
                                      std::uint64_t nodes) {
  const auto read = [&](std::initializer_list<const char*> masks,
                        std::initializer_list<const char*> lists) {
    if (const auto mask = archive.first_of(masks)) {
      return nodes_of_mask(extract(job, archive, *mask), nodes);
    }
    if (const auto list = archive.first_of(lists)) {
      return nodes_of(extract(job, archive, *list), nodes);
    }
    return std::vector<std::uint64_t>{};
  };
  SplitNodes splits;
  splits.train = read({"train_mask"}, {"train_idx"});
  splits.validation = read({"val_mask", "valid_mask"}, {"val_idx", "valid_idx"});
  splits.test = read({"test_mask"}, {"test_idx"});
  if (splits.train.empty() && splits.validation.empty() && splits.test.empty()) return std::nullopt;
  return splits;
}

}  // namespace

void import_npz(ImportJob& job) {
  const NpzArchive archive(job.options().input);
  const std::uint64_t nodes = import_features(job, archive);
  const NodeLabels labels = labels_of(
      extract(job, archive, required(job, archive, {"y", "labels", "node_label", "label"})), nodes);
  import_graph(job, archive, nodes);
  job.set_splits(labels, read_splits(job, archive, nodes));
}

}  // namespace gsplit
