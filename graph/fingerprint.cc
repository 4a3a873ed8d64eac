#include "graph/dataset.h"
#include "graph/sha256.h"

namespace gsplit {
namespace {

/// All of a small array; of a larger one its two ends and equally spaced blocks between them.
void add_sampled(Sha256& hash, std::span<const std::byte> bytes) {
  constexpr std::size_t kBlock = 4096;
  constexpr std::size_t kBlocks = 1024;
  if (bytes.size() <= kBlock * kBlocks) return hash.add(bytes);
  const std::size_t last = bytes.size() - kBlock;
  const std::size_t stride = last / (kBlocks - 1);
  for (std::size_t i = 0; i + 1 < kBlocks; ++i) hash.add(bytes.subspan(i * stride, kBlock));
  hash.add(bytes.subspan(last, kBlock));
}

void add_array(Sha256& hash, const NpyArray& array) {
  hash.add(array.type().name());
  hash.add(std::uint64_t{array.shape().size()});
  for (const std::uint64_t dimension : array.shape()) hash.add(dimension);
  add_sampled(hash, array.bytes());
}

void add_split(Sha256& hash, const LabeledNodes& split) {
  hash.add(std::uint64_t{split.nodes.size()});
  hash.add(std::as_bytes(std::span(split.nodes)));
  hash.add(std::as_bytes(std::span(split.labels)));
  hash.add(std::as_bytes(std::span(split.label_rows)));
}

}  // namespace

std::string content_fingerprint(const Dataset& dataset) {
  Sha256 hash;
  hash.add(std::string("gsplit dataset fingerprint 1"));
  hash.add(dataset.num_nodes);
  hash.add(dataset.num_classes);
  if (dataset.task == Task::kMultiLabel) hash.add(std::string(name_of(dataset.task)));
  add_array(hash, dataset.edges);
  add_array(hash, dataset.features);
  for (const LabeledNodes* split : {&dataset.train, &dataset.validation, &dataset.test}) {
    add_split(hash, *split);
  }
  if (dataset.edge_weights) {
    hash.add(std::string("edge weights"));
    add_array(hash, *dataset.edge_weights);
  }
  return hash.hex();
}

}  // namespace gsplit
