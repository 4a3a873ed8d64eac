// The steps of an import, against the same done plainly in memory.
#include "graph/import/edge_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "graph/npy.h"
#include "kernels/base/philox.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

struct PlainEdge {
  std::uint64_t source, destination;
  float weight;
  bool operator==(const PlainEdge&) const = default;
};

constexpr std::uint64_t kNodes = 97;

std::vector<PlainEdge> random_edges(std::size_t count) {
  std::vector<PlainEdge> edges;
  for (std::size_t e = 0; e < count; ++e) {
    const PhiloxBlock random = draw({.seed = 3}, e, 0);
    edges.push_back({bounded(random.word[0], kNodes - 2), bounded(random.word[1], kNodes - 2),
                     static_cast<float>(random.word[2] % 1000)});
  }
  return edges;
}

/// What the header of edge_steps.h promises.
std::vector<PlainEdge> expected(const std::vector<PlainEdge>& edges, const EdgeSteps& steps,
                                bool weighted) {
  std::vector<PlainEdge> out;
  for (const PlainEdge& e : edges) {
    if (steps.drop_self_loops && e.source == e.destination) continue;
    out.push_back(e);
    if (steps.reverse) out.push_back({e.destination, e.source, e.weight});
  }
  for (std::uint64_t v = 0; steps.add_self_loops && v < kNodes; ++v) out.push_back({v, v, 1});
  if (steps.dedup) {
    std::stable_sort(out.begin(), out.end(), [](const PlainEdge& a, const PlainEdge& b) {
      return std::tie(a.destination, a.source) < std::tie(b.destination, b.source);
    });
    const auto same = [](const PlainEdge& a, const PlainEdge& b) {
      return a.source == b.source && a.destination == b.destination;
    };
    out.erase(std::unique(out.begin(), out.end(), same), out.end());
  }
  for (PlainEdge& e : out) e.weight = weighted ? e.weight : 0;
  return out;
}

class EdgeWriterTest : public testing::Test {
 protected:
  struct Written {
    std::vector<PlainEdge> edges;
    EdgeTotals totals;
  };
  Written write(const std::vector<PlainEdge>& edges, const EdgeSteps& steps, bool weighted,
                std::uint64_t memory, int threads, std::uint64_t num_nodes = kNodes) {
    std::filesystem::remove(directory_ / "edge_weight.npy");
    EdgeWriter writer(directory_ / ".", directory_ / ".", steps, {memory, threads});
    for (std::size_t at = 0; at < edges.size();) {
      EdgeBatch batch;
      for (; batch.size() < 777 && at < edges.size(); ++at) {
        batch.sources.push_back(edges[at].source);
        batch.destinations.push_back(edges[at].destination);
        if (weighted) batch.weights.push_back(edges[at].weight);
      }
      writer.add(batch);
    }
    Written written{{}, writer.finish(num_nodes)};
    written.edges = read(weighted);
    return written;
  }
  std::vector<PlainEdge> read(bool weighted) {
    std::vector<PlainEdge> edges;
    const NpyArray ends = NpyArray::open(directory_ / "edges.npy");
    EXPECT_EQ(std::filesystem::exists(directory_ / "edge_weight.npy"), weighted);
    const NpyArray weights = weighted ? NpyArray::open(directory_ / "edge_weight.npy") : NpyArray{};
    const std::size_t count = ends.shape()[1];
    ends.visit_integers([&](auto ids) {
      for (std::size_t e = 0; e < count; ++e) {
        edges.push_back({static_cast<std::uint64_t>(ids[e]),
                         static_cast<std::uint64_t>(ids[count + e]),
                         weighted ? weights.as<float>()[e] : 0});
      }
    });
    return edges;
  }

  TemporaryDirectory directory_;
};

TEST_F(EdgeWriterTest, AllStepsTogetherAndAloneForAnyMemoryAndThreads) {
  const std::vector<PlainEdge> edges = random_edges(20000);
  for (int bits = 0; bits < 32; ++bits) {
    const EdgeSteps steps{.drop_self_loops = (bits & 1) != 0,
                          .reverse = (bits & 2) != 0,
                          .add_self_loops = (bits & 4) != 0,
                          .dedup = (bits & 8) != 0};
    const bool weighted = (bits & 16) != 0;
    const auto plain = expected(edges, steps, weighted);
    for (const std::uint64_t memory :
         {std::uint64_t{0}, std::uint64_t{100000}, std::uint64_t{1} << 30}) {
      for (const int threads : {1, 3}) {
        const Written written = write(edges, steps, weighted, memory, threads);
        EXPECT_EQ(written.edges, plain) << bits << " " << memory << " " << threads;
        EXPECT_EQ(written.totals.written, plain.size());
        EXPECT_EQ(written.totals.read, edges.size());
        EXPECT_EQ(written.totals.spilled_bytes > 0, steps.dedup && memory < 200000);
      }
    }
  }
}

TEST_F(EdgeWriterTest, WideIdsTurnAllIntoInt64) {
  const std::vector<PlainEdge> edges{
      {0, 1, 0}, {5, 2147483647, 0}, {2147483648, 3, 0}, {4, 4503599627370496, 0}};
  const std::vector<PlainEdge> narrow(edges.begin(), edges.begin() + 2);
  EXPECT_EQ(write(narrow, {}, false, 0, 1, 2147483648).edges, narrow);
  EXPECT_EQ(NpyArray::open(directory_ / "edges.npy").type(), (NpyType{'i', 4}));
  EXPECT_EQ(write(edges, {}, false, 0, 1, 4503599627370497).edges, edges);
  EXPECT_EQ(NpyArray::open(directory_ / "edges.npy").type(), (NpyType{'i', 8}));
}

TEST_F(EdgeWriterTest, WideIdsInALaterBatch) {
  std::vector<PlainEdge> edges = random_edges(2000);
  edges.push_back({1, std::uint64_t{1} << 40, 0});
  for (PlainEdge& e : edges) e.weight = 0;
  EXPECT_EQ(write(edges, {}, false, 0, 1, (std::uint64_t{1} << 40) + 1).edges, edges);
}

TEST_F(EdgeWriterTest, NoEdgesAreAnEmptyArray) {
  EXPECT_TRUE(write({}, {}, false, 0, 1).edges.empty());
  EXPECT_EQ(NpyArray::open(directory_ / "edges.npy").shape(), (std::vector<std::uint64_t>{2, 0}));
}

TEST_F(EdgeWriterTest, LeavesNothingBesideTheEdges) {
  write(random_edges(5000), {.reverse = true, .dedup = true}, true, 0, 2);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / ".")) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("edges.npy", "edge_weight.npy"));
}

TEST(OutputFileTest, AFullDiskIsASystemError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  OutputFile file("/dev/full");
  const std::vector<std::byte> bytes(10);
  file.append(std::span<const std::byte>(bytes));
  EXPECT_THROW(file.flush(), SystemError);
}

}  // namespace
}  // namespace gsplit
