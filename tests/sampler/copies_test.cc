// Copies of remote rows: sampled blocks read the same nodes with any copies as with none, what is
// copied does not travel, and each node is counted once wherever it is read.
#include "sampler/copies.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <random>
#include <set>
#include <tuple>

#include "comm/world.h"
#include "kernels/backend.h"
#include "sampler/split_sampler.h"
#include "tests/support/parts.h"

namespace gsplit {
namespace {

using namespace test;

/// (layer, destination) -> sources in stored order, in original ids.
using Blocks = std::map<std::pair<std::size_t, Id>, std::vector<Id>>;

struct Collected {
  std::mutex mutex;
  Blocks blocks;
  std::size_t received = 0;     // rows of the input layer from other workers
  std::size_t copies_read = 0;  // each once a worker
  std::size_t pull_sends = 0;   // of the input layer
  std::set<Id> owned, copied;   // input rows read by their owners; from copies
  std::size_t needed = 0;       // Block::num_needed of the input layer
};

/// Whether worker `p` has a copy of a node, for a share of all pairs.
bool has_copy(std::uint64_t seed, std::size_t p, Id node, double share) {
  std::mt19937_64 random(seed * 1000003 + p * 7919 + node);
  return static_cast<double>(random() % 1000) < share * 1000;
}

CopiedNodes choose_copies(const Renumbered& graph, std::uint64_t seed, double share,
                          Communicator& communicator) {
  const auto self = static_cast<std::size_t>(communicator.rank());
  std::vector<std::size_t> counts(graph.parts.size(), 0);
  std::vector<LocalId> nodes;
  for (std::size_t q = 0; q < graph.parts.size(); ++q) {
    for (Id g = graph.bounds[q]; q != self && g < graph.bounds[q + 1]; ++g) {
      if (!has_copy(seed, self, graph.original[g], share)) continue;
      ++counts[q];
      nodes.push_back(LocalId{static_cast<std::uint32_t>(g - graph.bounds[q])});
    }
  }
  return CopiedNodes::agree(std::move(counts), std::move(nodes), communicator);
}

/// Original ids of the copies, in their order.
std::vector<Id> names_of(const CopiedNodes& copies, const Renumbered& graph) {
  std::vector<Id> ids;
  for (std::size_t q = 0; q < copies.counts.size(); ++q) {
    for (std::size_t i = 0; i < copies.counts[q]; ++i) {
      ids.push_back(graph.original[graph.bounds[q] + value(copies.nodes[ids.size()])]);
    }
  }
  return ids;
}

/// Original ids of a layer's source rows; the received ones are sent as the plan says.
std::vector<Id> source_ids(const SampledLayer& layer, std::span<const Id> own,
                           Communicator& communicator) {
  const Block& block = layer.block;
  std::vector<Id> ids(own.begin(), own.begin() + block.num_own), sent;
  ids.resize(block.num_sources());
  for (RowIndex row : layer.plan.send_rows.span()) {
    EXPECT_LT(row, block.num_owned()) << "a copy is sent on";
    sent.push_back(ids.at(row));
  }
  std::vector<std::size_t> send, receive;
  for (std::size_t count : layer.plan.send_counts) send.push_back(count * sizeof(Id));
  for (std::size_t count : layer.plan.receive_counts) receive.push_back(count * sizeof(Id));
  communicator.exchange({std::as_bytes(std::span(sent)), send,
                         std::as_writable_bytes(std::span(ids).subspan(block.num_own)), receive});
  return ids;
}

void collect(const MiniBatch& batch, std::span<const Id> own, Communicator& communicator,
             Collected& collected) {
  for (std::size_t l = 0; l < batch.layers.size(); ++l) {
    const Block& block = batch.layers[l].block;
    const std::vector<Id> ids = source_ids(batch.layers[l], own, communicator);
    const std::lock_guard lock(collected.mutex);
    EXPECT_EQ(std::set<Id>(ids.begin(), ids.end()).size(), ids.size()) << "a source stands twice";
    for (RowIndex i = 0; i < block.num_destinations; ++i) {
      std::vector<Id>& row = collected.blocks[{l, ids[i]}];
      for (RowIndex e = block.indptr.span()[i]; e < block.indptr.span()[i + 1]; ++e) {
        row.push_back(ids.at(block.columns.span()[e]));
      }
    }
    if (l > 0) {
      EXPECT_EQ(block.num_copies, 0u);
      EXPECT_EQ(block.num_spared, 0u);
      continue;
    }
    collected.received += block.num_received;
    collected.copies_read += block.num_copies;
    collected.pull_sends += batch.layers[l].plan.pull_sends;
    collected.needed += block.num_needed();
    collected.owned.insert(ids.begin(), ids.begin() + block.num_owned());
    collected.copied.insert(ids.begin() + block.num_owned(), ids.begin() + block.num_own);
  }
}

struct Case {
  const Renumbered& graph;
  const std::vector<Id>& seeds;
  SampleOptions options;
  std::uint64_t choice;
  double share;  // of remote nodes with a copy; below 0: without copies
};

void run(const Case& test, int workers, Collected& collected) {
  run_local_ranks(workers, std::chrono::seconds(20), [&](Communicator& communicator) {
    const auto rank = static_cast<std::size_t>(communicator.rank());
    const Renumbered::Part& part = test.graph.parts[rank];
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->memory().create_stream();
    SplitSampler sampler(part.topology(), test.graph.bounds, *backend, communicator);
    const CopiedNodes copies = choose_copies(test.graph, test.choice, test.share, communicator);
    SampleOptions options = test.options;
    if (test.share >= 0) options.copies = &copies;
    const std::vector<LocalId> seeds = test.graph.owned(test.seeds, rank);
    sampler.sample(seeds, options, *stream);  // a sampler must be reusable
    const MiniBatch batch = sampler.sample(seeds, options, *stream);
    const std::vector<Id> copied = names_of(copies, test.graph);
    std::vector<Id> own;
    for (const LocalId name : batch.nodes.span()) {
      const std::size_t i = value(name);
      const std::size_t nodes = part.original_ids.size();
      own.push_back(i < nodes ? value(part.original_ids[i]) : copied.at(i - nodes));
    }
    collect(batch, own, communicator, collected);
  });
}

class Copies : public testing::TestWithParam<int> {};

TEST_P(Copies, ServeTheSameBlocksAndSpareTheirRows) {
  const int workers = GetParam();
  const Graph nodes = random_graph(600, 5);
  const std::vector<Id> seeds{3, 11, 12, 50, 77, 123, 400, 401, 402, 403, 598, 599};
  for (const std::vector<std::int32_t>& fanouts :
       {std::vector<std::int32_t>{4}, {3, 5}, {kFullFanout, 2}}) {
    const SampleOptions options{.fanouts = fanouts, .key = {.seed = 99, .step = 17}};
    for (std::uint64_t choice = 0; choice < 3; ++choice) {
      const Renumbered graph =
          renumber(nodes, random_owners(nodes.size(), workers, choice), workers);
      Collected plain;
      run({graph, seeds, options, choice, -1}, workers, plain);
      EXPECT_EQ(plain.copies_read, 0u);
      std::size_t last = plain.received;
      for (const double share : {0.0, 0.3, 1.0}) {
        Collected copied;
        run({graph, seeds, options, choice, share}, workers, copied);
        EXPECT_EQ(copied.blocks, plain.blocks);
        EXPECT_EQ(copied.received + copied.copies_read, plain.received);
        EXPECT_EQ(copied.pull_sends, plain.pull_sends);
        EXPECT_LE(copied.received, last);
        last = copied.received;
        // Each node counts once: at its owner, or as spared.
        std::set<Id> all = copied.owned;
        all.insert(copied.copied.begin(), copied.copied.end());
        EXPECT_EQ(all, plain.owned);
        EXPECT_EQ(copied.needed, plain.owned.size());
      }
      EXPECT_EQ(last, 0u) << "everything has a copy";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, Copies, testing::Values(1, 2, 3, 5));

}  // namespace
}  // namespace gsplit
