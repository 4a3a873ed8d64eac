// Rows read through a cache, on any number of workers, are the rows of the shard, bit by bit.
#include "runtime/train/feature_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "comm/host_route.h"
#include "comm/world.h"
#include "graph/npy.h"
#include "partition/prepare.h"
#include "runtime/train/input_rows.h"
#include "tests/partition/graphs.h"

namespace gsplit {
namespace {

constexpr std::uint64_t kNodes = 301;
constexpr std::int64_t kWidth = 3;

/// A worker of data parallelism with the whole of a small graph.
struct Worker {
  Worker(const Partition& partition, Communicator& communicator)
      : shard(Shard::open(partition, 0)),
        backend(make_cpu_backend(1)),
        stream(backend->memory().create_stream()),
        traffic(communicator, *backend),
        alone(std::move(make_local_communicators(1, std::chrono::seconds(20)).front())),
        context{*backend, *backend, *stream, communicator, traffic, progress, {}, *alone},
        shard_rows(shard, context) {}

  std::vector<float> read(RowReader& reader, const std::vector<LocalId>& nodes) {
    Matrix rows(backend->memory(), DType::kF32, static_cast<std::int64_t>(nodes.size()), kWidth);
    reader.read(nodes, rows.view());
    std::vector<float> values(nodes.size() * kWidth);
    if (!values.empty()) std::memcpy(values.data(), rows.data(), rows.bytes());
    return values;
  }

  Shard shard;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Stream> stream;
  Progress progress;
  HostRoute traffic;
  std::unique_ptr<Communicator> alone;
  Context context;
  ShardRowReader shard_rows;
};

class Cache : public testing::TestWithParam<int> {
 protected:
  Cache() {
    test::write_dataset(work_ / "data", kNodes, test::community_edges(kNodes, 4, 3, 0.9, 5));
    // No value that bf16 holds, so that what is rounded shows.
    std::vector<float> features(kNodes * kWidth);
    for (std::size_t i = 0; i < features.size(); ++i) features[i] = 0.1f + static_cast<float>(i);
    write_npy<float>(work_ / "data" / "feat.npy", features, {kNodes, kWidth});
    partition_ = prepare_partition(open_dataset(work_ / "data"), {.parts = 1}, {});
  }

  test::ScopedCache cache_;
  TemporaryDirectory work_;
  Partition partition_;
};

/// Every k-th node; k = 0: none.
std::vector<GlobalId> every(std::uint64_t k) {
  std::vector<GlobalId> nodes;
  for (std::uint64_t node = 0; k > 0 && node < kNodes; node += k) nodes.push_back(GlobalId{node});
  return nodes;
}

/// Distinct nodes in no order, not the same number at every worker.
std::vector<LocalId> some_nodes(int rank, std::uint64_t seed) {
  std::vector<LocalId> nodes;
  for (std::uint32_t node = 0; node < kNodes; ++node) nodes.push_back(LocalId{node});
  std::mt19937_64 random(seed * 100 + static_cast<std::uint64_t>(rank));
  std::shuffle(nodes.begin(), nodes.end(), random);
  nodes.resize(static_cast<std::size_t>(rank) * 60 % kNodes);  // of rank 0 none
  return nodes;
}

TEST_P(Cache, GivesTheRowsOfTheShardAndCountsThem) {
  for (const std::uint64_t k : {0u, 1u, 2u, 5u}) {
    for (const CachePlacement placement :
         {CachePlacement::kEveryWorker, CachePlacement::kOneWorker}) {
      const bool spread = placement == CachePlacement::kOneWorker && GetParam() > 1;
      run_local_ranks(GetParam(), std::chrono::seconds(20), [&](Communicator& communicator) {
        Worker worker(partition_, communicator);
        const int rank = communicator.rank();
        FeatureCache cache(every(k), placement, worker.shard, worker.shard_rows, worker.context);
        for (std::uint64_t step = 0; step < 3; ++step) {
          const std::vector<LocalId> nodes = some_nodes(rank + 1, step);
          worker.context.shuffle = {};
          ASSERT_EQ(worker.read(cache, nodes), worker.read(worker.shard_rows, nodes));
          RowsRead expected;
          for (const LocalId node : nodes) {
            if (k == 0 || value(node) % k != 0) {
              ++expected.disk;
            } else if (spread && static_cast<int>(value(node) / k) % GetParam() != rank) {
              ++expected.remote;
            } else {
              ++expected.cache;
            }
          }
          EXPECT_EQ(cache.counts().cache, expected.cache);
          EXPECT_EQ(cache.counts().remote, expected.remote);
          EXPECT_EQ(cache.counts().disk, expected.disk);
          const auto sent =
              communicator.all_gather_value(worker.context.shuffle.layers.front().bytes);
          const auto read = communicator.all_gather_value(expected.remote);
          EXPECT_EQ(std::accumulate(sent.begin(), sent.end(), std::uint64_t{0}),
                    std::accumulate(read.begin(), read.end(), std::uint64_t{0}) * kWidth * 4);
        }
        // What is kept is what is needed, once: everywhere, or once over all workers.
        const auto bytes = communicator.all_gather_value(std::uint64_t{cache.bytes()});
        EXPECT_EQ(
            std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0}),
            every(k).size() * kWidth * 4 *
                (placement == CachePlacement::kOneWorker ? 1
                                                         : static_cast<std::uint64_t>(GetParam())));
      });
    }
  }
}

TEST_P(Cache, RoundsOnTheWireOnlyWhatTravels) {
  run_local_ranks(GetParam(), std::chrono::seconds(20), [&](Communicator& communicator) {
    Worker worker(partition_, communicator);
    worker.context.bf16_wire = true;
    FeatureCache cache(every(2), CachePlacement::kOneWorker, worker.shard, worker.shard_rows,
                       worker.context);
    const std::vector<LocalId> nodes = some_nodes(communicator.rank() + 1, 1);
    const std::vector<float> ours = worker.read(cache, nodes);
    std::vector<float> expected = worker.read(worker.shard_rows, nodes);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::uint32_t node = value(nodes[i / kWidth]);
      const bool travels =
          node % 2 == 0 && static_cast<int>(node / 2) % GetParam() != communicator.rank();
      if (travels) expected[i] = to_float(to_bfloat16(expected[i]));
    }
    EXPECT_EQ(ours, expected);
  });
}

INSTANTIATE_TEST_SUITE_P(Workers, Cache, testing::Values(1, 2, 4));

}  // namespace
}  // namespace gsplit
