// GraphBolt's OnDiskDataset, whose edges may be csv; everything else is npy.
#include <utility>

#include "graph/dataset_description.h"
#include "graph/import/array_edges.h"
#include "graph/import/array_nodes.h"
#include "graph/import/import_job.h"
#include "graph/import/text_edges.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kCharactersAnEdge = 14;

/// Adds the labels of one split to `labels`; returns its nodes.
std::vector<std::uint64_t> read_split(const std::optional<SplitFiles>& files, NodeLabels& labels) {
  if (!files) return {};
  std::vector<std::uint64_t> nodes = nodes_of(NpyArray::open(files->seeds), labels.num_nodes);
  add_labels(NpyArray::open(files->labels), nodes, labels);
  return nodes;
}

std::uint64_t columns_of(const NpyArray& labels) {
  return labels.shape().empty() ? 1 : label_columns(labels, labels.shape()[0]);
}

/// Classes that no node has count too; of several labels a node each must be there.
void set_num_classes(ImportJob& job, std::uint64_t stated, std::uint64_t columns) {
  const std::uint64_t found = job.arrays().num_classes;
  if (found > stated || (columns > 1 && found != stated)) {
    throw UsageError((job.options().input / "metadata.yaml").string() + " says num_classes is " +
                         std::to_string(stated) + ", the labels need " + std::to_string(found),
                     "correct it or the labels");
  }
  job.arrays().num_classes = stated;
}

void import_csv_edges(ImportJob& job, const DatasetDescription& description) {
  const bool weighted = description.edge_weights.has_value();
  // Weights come from the array or from a third column, never from both.
  TextEdgeReader reader(
      description.edges,
      {.id_limit = description.num_nodes, .comments = false, .weights = !weighted});
  std::error_code ignored;
  job.announce_edges(std::filesystem::file_size(description.edges, ignored) / kCharactersAnEdge,
                     false);
  if (!weighted) return job.import_edges(reader, description.num_nodes);
  WeightingReader with_weights(reader, NpyArray::open(*description.edge_weights));
  job.import_edges(with_weights, description.num_nodes);
}

void import_npy_edges(ImportJob& job, const DatasetDescription& description) {
  std::optional<NpyArray> weights;
  if (description.edge_weights) weights = NpyArray::open(*description.edge_weights);
  NpyArray edges = NpyArray::open(description.edges);
  job.announce_edges(edges.num_elements() / 2, true);
  ArrayEdgeReader reader(std::move(edges), std::move(weights), description.num_nodes);
  job.import_edges(reader, description.num_nodes);
}

}  // namespace

void import_graphbolt(ImportJob& job) {
  const DatasetDescription description =
      read_dataset_description(job.options().input / "metadata.yaml", EdgeFormats::kNumpyOrCsv);
  job.arrays().name = description.name;
  const NpyArray features = NpyArray::open(description.features);
  job.announce_files("features", features.bytes().size());
  // First: its rows prove the number of nodes.
  convert_features(features, description.num_nodes, job.directory() / "feat.npy",
                   job.options().feature_dtype);
  NodeLabels labels = NodeLabels::unlabeled(description.num_nodes,
                                            columns_of(NpyArray::open(description.train.labels)));
  SplitNodes splits;
  splits.train = read_split(description.train, labels);
  splits.validation = read_split(description.validation, labels);
  splits.test = read_split(description.test, labels);
  description.csv_edges ? import_csv_edges(job, description) : import_npy_edges(job, description);
  job.set_splits(labels, splits);
  set_num_classes(job, description.num_classes, labels.columns);
}

}  // namespace gsplit
