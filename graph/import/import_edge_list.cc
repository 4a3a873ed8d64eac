// A bare edge list: the graph is its own, features and labels are made up.
#include <algorithm>

#include "graph/import/import_job.h"
#include "graph/import/text_edges.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kMostNodes = std::uint64_t{1} << 32;  // of generated features
constexpr std::uint64_t kCharactersAnEdge = 12;
constexpr std::uint64_t kCompressed = 5;

std::uint64_t estimated_edges(const std::filesystem::path& path) {
  std::error_code ignored;
  const std::uint64_t bytes = std::filesystem::file_size(path, ignored);
  const bool plain = path.extension() != ".gz" && path.extension() != ".zst";
  return bytes * (plain ? 1 : kCompressed) / kCharactersAnEdge;
}

void require(bool holds, const std::string& fault, const std::string& remedy) {
  if (!holds) throw UsageError(fault, remedy);
}

void check_options(const ImportOptions& options) {
  require(options.features >= 1 && options.features <= kMaxSyntheticFeatures,
          "--features-random is " + std::to_string(options.features),
          "give 1 to " + std::to_string(kMaxSyntheticFeatures));
  require(options.classes >= 1 && options.classes <= NodeLabels::kMaxClass,
          "--classes is " + std::to_string(options.classes),
          "give 1 to " + std::to_string(NodeLabels::kMaxClass));
}

/// Labels by in-degree, features by label.
void make_up_nodes(ImportJob& job) {
  const ImportOptions& options = job.options();
  DatasetArrays& arrays = job.arrays();
  const DType dtype = options.feature_dtype.value_or(DType::kF32);
  job.announce_files("generated features", arrays.num_nodes * options.features * size_of(dtype));
  const std::vector<std::uint32_t> class_of =
      degree_classes(count_in_degrees(NpyArray::open(job.directory() / "edges.npy"),
                                      arrays.num_nodes, options.threads),
                     options.classes, options.seed, options.threads);
  write_synthetic_features(
      job.directory() / "feat.npy", class_of,
      {.width = options.features, .dtype = dtype, .classes = options.classes, .seed = options.seed},
      options.threads);
  arrays.num_classes = options.classes;
  const SplitShares shares = options.random_split.value_or(SplitShares{});
  check_split_shares(arrays.num_nodes, shares);
  split_by_class(class_of, shares, options.seed, options.threads, arrays);
}

}  // namespace

void import_edge_list(ImportJob& job) {
  const ImportOptions& options = job.options();
  check_options(options);
  TextEdgeRules rules;
  if (options.num_nodes > 0) rules.id_limit = options.num_nodes;
  TextEdgeReader reader(options.input, rules);
  job.announce_edges(estimated_edges(options.input), false);
  job.import_edges(reader, options.num_nodes > 0 ? std::optional(options.num_nodes) : std::nullopt);
  const std::uint64_t nodes = job.arrays().num_nodes;
  require(nodes > 0, options.input.string() + " holds no edge", "give a file of edges");
  require(nodes <= kMostNodes, "features and labels of more than 2^32 nodes cannot be generated",
          "number the nodes from 0 without gaps");
  require(options.classes <= nodes,
          "--classes is " + std::to_string(options.classes) + ", the graph has " +
              std::to_string(nodes) + " nodes",
          "give at most one class a node");
  make_up_nodes(job);
}

}  // namespace gsplit
