// A partition of one or two parts: partition.json and the arrays of each part, several files in one
// input.
#include "graph/shard.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

constexpr const char* kFiles[] = {"indptr.npy",       "indices.npy",          "edge_weights.npy",
                                  "original_ids.npy", "features.npy",         "labels.npy",
                                  "train_nodes.npy",  "validation_nodes.npy", "test_nodes.npy"};

void check_topology(const Shard& shard, std::uint64_t num_nodes) {
  const TopologyView topology = shard.topology();
  GSPLIT_CHECK(topology.indptr.size() == shard.num_nodes() + 1);
  for (std::size_t v = 0; v < shard.num_nodes(); ++v) {
    for (std::int64_t e = topology.indptr[v]; e < topology.indptr[v + 1]; ++e) {
      GSPLIT_CHECK(value(topology.neighbor(e)) < num_nodes);
      if (!topology.edge_weights.empty())
        fuzz::touch(topology.edge_weights.subspan(static_cast<std::size_t>(e), 1));
    }
  }
}

void check_shard(const Shard& shard, const PartitionInfo& info) {
  check_topology(shard, info.num_nodes);
  for (const OriginalId id : shard.original_ids()) GSPLIT_CHECK(value(id) < info.num_nodes);
  const ConstMatrixView features = shard.features();
  GSPLIT_CHECK(features.rows == static_cast<std::int64_t>(shard.num_nodes()));
  fuzz::touch({static_cast<const std::byte*>(features.data),
               static_cast<std::size_t>(features.rows * features.cols) * size_of(features.dtype)});
  if (shard.task() == Task::kMultiClass) {
    for (const std::int32_t label : shard.labels()) {
      GSPLIT_CHECK(label >= -1 && label < static_cast<std::int64_t>(info.num_classes));
    }
  } else {
    GSPLIT_CHECK(shard.label_matrix().size() == shard.num_nodes() * info.num_classes);
  }
  for (const auto& split : {shard.train_nodes(), shard.validation_nodes(), shard.test_nodes()}) {
    for (const LocalId node : split) GSPLIT_CHECK(value(node) < shard.num_nodes());
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto files = fuzz::split_files(fuzz::text_of(data, size));
  std::filesystem::create_directory(fuzz::scratch() / "part-0");
  fuzz::write_input("partition.json", files["partition.json"]);
  fuzz::write_input("train_seeds.npy", files["train_seeds.npy"]);
  for (const char* name : kFiles) fuzz::write_input(std::string("part-0/") + name, files[name]);
  fuzz::accept_or_refuse([&] {
    const Partition partition = Partition::open(fuzz::scratch());
    fuzz::touch(partition.train_seeds());
    check_shard(Shard::open(partition, 0), partition.info());
  });
  return 0;
}
