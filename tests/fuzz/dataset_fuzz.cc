// A whole dataset: metadata.yaml and the arrays beside it, several files in one input.
#include "graph/dataset.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

constexpr const char* kFiles[] = {"metadata.yaml",   "edges.npy",       "feat.npy",
                                  "weights.npy",     "train_seeds.npy", "train_labels.npy",
                                  "valid_seeds.npy", "valid_labels.npy"};

void check_split(const LabeledNodes& split, const Dataset& dataset) {
  for (const std::uint64_t node : split.nodes) GSPLIT_CHECK(node < dataset.num_nodes);
  const bool single = dataset.task == Task::kMultiClass;
  GSPLIT_CHECK(split.labels.size() == (single ? split.nodes.size() : 0));
  GSPLIT_CHECK(split.label_rows.size() == (single ? 0 : split.nodes.size() * dataset.num_classes));
  for (const std::int32_t label : split.labels) {
    GSPLIT_CHECK(label >= 0 && static_cast<std::uint64_t>(label) < dataset.num_classes);
  }
  for (const std::uint8_t label : split.label_rows) GSPLIT_CHECK(label <= 1);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto files = fuzz::split_files(fuzz::text_of(data, size));
  for (const char* name : kFiles) fuzz::write_input(name, files[name]);
  fuzz::accept_or_refuse([&] {
    const Dataset dataset = open_dataset(fuzz::scratch());
    check_split(dataset.train, dataset);
    check_split(dataset.validation, dataset);
    check_split(dataset.test, dataset);
    validate_arrays(dataset, 1);
    fuzz::touch(dataset.edges);
    fuzz::touch(dataset.features);
    if (!dataset.edge_weights) return;
    std::vector<std::uint64_t> edges(dataset.num_edges);
    for (std::size_t e = 0; e < edges.size(); ++e) edges[e] = e;
    std::vector<float> weights(edges.size());
    gather_edge_weights(dataset, edges, weights, 1);
  });
  return 0;
}
