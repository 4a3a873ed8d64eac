// A zip of arrays, and what importers make of each: features, labels, ids, masks, edges.
#include <optional>

#include "graph/import/array_edges.h"
#include "graph/import/array_nodes.h"
#include "graph/import/npz_archive.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

void read_all(EdgeReader& reader) {
  EdgeBatch batch;
  while (reader.next(batch)) {
    GSPLIT_CHECK(batch.sources.size() == batch.destinations.size());
    GSPLIT_CHECK(batch.weights.empty() || batch.weights.size() == batch.sources.size());
  }
}

void read_array(const NpyArray& array) {
  fuzz::touch(array);
  const std::uint64_t rows = array.shape().empty() ? 0 : array.shape()[0];
  for (const std::optional<DType> dtype : {std::optional<DType>(), std::optional(DType::kF16)}) {
    fuzz::accept_or_refuse(
        [&] { convert_features(array, rows, fuzz::scratch() / "feat.npy", dtype); });
  }
  fuzz::accept_or_refuse([&] { labels_of(array, rows); });
  fuzz::accept_or_refuse([&] { nodes_of_mask(array, rows); });
  fuzz::accept_or_refuse([&] { nodes_of(array, 100); });
}

void read_archive(const std::filesystem::path& file) {
  const NpzArchive archive(file);
  const auto extract = [&](const std::string& name) {
    return archive.extract(name, fuzz::scratch() / (name + ".npy"));
  };
  if (archive.has("x")) fuzz::accept_or_refuse([&] { read_array(extract("x")); });
  if (archive.has("edge_index")) {
    std::optional<NpyArray> weights;
    if (archive.has("edge_weight")) weights = extract("edge_weight");
    ArrayEdgeReader reader(extract("edge_index"), std::move(weights), 100);
    read_all(reader);
  }
  if (archive.has("adj_indptr")) {
    CsrEdgeReader reader(extract("adj_indptr"), extract("adj_indices"), std::nullopt);
    read_all(reader);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("archive.npz", fuzz::text_of(data, size));
  fuzz::accept_or_refuse([&] { read_archive(file); });
  return 0;
}
