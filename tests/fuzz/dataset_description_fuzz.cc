#include "graph/dataset_description.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("metadata.yaml", fuzz::text_of(data, size));
  fuzz::accept_or_refuse([&] {
    const auto description = read_dataset_description(file, EdgeFormats::kNumpyOrCsv);
    GSPLIT_CHECK(description.num_nodes > 0 && description.num_nodes < std::uint64_t{1} << 63);
    GSPLIT_CHECK(description.num_classes > 0 && description.num_classes < std::uint64_t{1} << 31);
    GSPLIT_CHECK(!description.edges.empty() && !description.features.empty());
  });
  return 0;
}
