// Edge lists as text. The input's first byte is s for the rules of SNAP's files; else OGB's hold.
#include <cmath>

#include "graph/import/text_edges.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

void read(const std::filesystem::path& file, const TextEdgeRules& rules) {
  TextEdgeReader reader(file, rules);
  EdgeBatch batch;
  while (reader.next(batch)) {
    GSPLIT_CHECK(batch.sources.size() == batch.destinations.size());
    GSPLIT_CHECK(batch.weights.empty() || batch.weights.size() == batch.sources.size());
    for (const std::uint64_t id : batch.sources) GSPLIT_CHECK(id < rules.id_limit);
    for (const std::uint64_t id : batch.destinations) GSPLIT_CHECK(id < rules.id_limit);
    for (const float weight : batch.weights) GSPLIT_CHECK(std::isfinite(weight) && weight >= 0);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const TextEdgeRules ogb{.id_limit = 1000, .comments = false, .weights = false};
  const auto file = fuzz::write_input("edges.txt", fuzz::text_of(data + 1, size - 1));
  fuzz::accept_or_refuse([&] { read(file, data[0] == 's' ? TextEdgeRules{} : ogb); });
  return 0;
}
