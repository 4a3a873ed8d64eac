// Tables as csv. The input's first byte: what the table holds, times 64, and the number of nodes.
#include "graph/import/csv_table.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

void read_nodes(const std::filesystem::path& file, std::uint64_t nodes) {
  for (const std::uint64_t node : read_csv_nodes(file, nodes)) GSPLIT_CHECK(node < nodes);
}

void read_labels(const std::filesystem::path& file, std::uint64_t nodes) {
  const NodeLabels labels = read_csv_labels(file, nodes);
  for (std::uint64_t v = 0; v < nodes; ++v) labels.is_labeled(v);
  GSPLIT_CHECK(labels.num_classes() >= 1);
}

void read_features(const std::filesystem::path& file, std::uint64_t nodes) {
  const auto npy = fuzz::scratch() / "feat.npy";
  const std::uint64_t width = convert_csv_features(file, nodes, {.npy = npy}, {});
  if (nodes == 0) return;
  const NpyArray features = NpyArray::open(npy);
  fuzz::touch(features);
  GSPLIT_CHECK((features.shape() == std::vector<std::uint64_t>{nodes, width}));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::uint64_t nodes = data[0] % 64;
  const auto file = fuzz::write_input("table.csv", fuzz::text_of(data + 1, size - 1));
  fuzz::accept_or_refuse([&] {
    switch (data[0] / 64) {
      case 0:
        read_csv_count(file);
        break;
      case 1:
        read_nodes(file, nodes);
        break;
      case 2:
        read_labels(file, nodes);
        break;
      default:
        read_features(file, nodes);
    }
  });
  return 0;
}
