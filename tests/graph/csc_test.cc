// The CSC against a plain sort of the edge list, for every id type and number of threads.
#include "graph/csc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <tuple>
#include <utility>

#include "tests/graph/small_dataset.h"

namespace gsplit {
namespace {

using testing::ElementsAre;

TEST(Csc, SmallGraphByHand) {
  const TemporaryDirectory directory;
  write_small_dataset(directory.path());
  build_csc(open_dataset(directory.path()), directory.path(), {.threads = 2});
  const Csc csc = Csc::open(directory.path());
  EXPECT_THAT(csc.view().indptr, ElementsAre(0, 3, 4, 5, 5, 7));
  EXPECT_THAT(csc.view().indices32, ElementsAre(2, 2, 4, 0, 1, 0, 3));
  EXPECT_EQ(csc.view().num_nodes(), 5u);
  EXPECT_EQ(csc.view().num_edges(), 7u);
  EXPECT_EQ(csc.view().neighbor(2), 4u);
}

/// A dataset of random edges, a third of them into node 0.
template <class Id>
Dataset random_dataset(const TemporaryDirectory& directory, std::uint64_t nodes,
                       std::uint64_t edges) {
  std::mt19937_64 random(3);
  std::vector<Id> ends(2 * edges);
  for (Id& end : ends) end = static_cast<Id>(random() % nodes);
  for (std::uint64_t e = 0; e < edges; e += 3) ends[edges + e] = 0;
  write_values<Id>(directory / "random.npy", ends, {2, edges});
  Dataset dataset;
  dataset.num_nodes = nodes;
  dataset.num_edges = edges;
  dataset.edges = NpyArray::open(directory / "random.npy");
  return dataset;
}

template <class Id>
class CscOfType : public testing::Test {};
using IdTypes = testing::Types<std::int8_t, std::uint8_t, std::int16_t, std::uint16_t, std::int32_t,
                               std::uint32_t, std::int64_t, std::uint64_t>;
TYPED_TEST_SUITE(CscOfType, IdTypes);

TYPED_TEST(CscOfType, HoldsTheSortedEdges) {
  const TemporaryDirectory directory;
  const Dataset dataset = random_dataset<TypeParam>(directory, 100, 20000);
  const auto ends = dataset.edges.as<TypeParam>();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> expected, found;
  for (std::size_t e = 0; e < 20000; ++e) expected.emplace_back(ends[20000 + e], ends[e]);
  std::sort(expected.begin(), expected.end());
  build_csc(dataset, directory.path(), {.threads = 2});
  const Csc csc = Csc::open(directory.path());
  const CscView view = csc.view();
  for (std::uint64_t v = 0; v < view.num_nodes(); ++v) {
    for (std::int64_t e = view.indptr[v]; e < view.indptr[v + 1]; ++e) {
      found.emplace_back(v, view.neighbor(e));
    }
  }
  EXPECT_EQ(found, expected);
}

TEST(Csc, IsTheSameForAnyNumberOfThreadsAndAnyRanges) {
  const TemporaryDirectory directory;
  const Dataset dataset = random_dataset<std::int32_t>(directory, 5000, 100000);
  build_csc(dataset, directory.path(), {.threads = 1});
  const std::string indptr = read_file(directory / "indptr.npy");
  const std::string indices = read_file(directory / "indices.npy");
  const std::vector<CscOptions> variants{{2}, {3}, {7}, {2, 10000}, {1, 123457}};
  for (const CscOptions& options : variants) {
    build_csc(dataset, directory.path(), options);
    EXPECT_EQ(read_file(directory / "indptr.npy"), indptr);
    EXPECT_EQ(read_file(directory / "indices.npy"), indices);
  }
}

/// Weight of edge e: every edge has its own, exact in f4.
template <class T>
void give_weights(Dataset& dataset, const TemporaryDirectory& directory) {
  std::vector<T> weights(dataset.num_edges);
  for (std::size_t e = 0; e < weights.size(); ++e) weights[e] = static_cast<T>(e);
  write_values<T>(directory / "given.npy", weights);
  dataset.edge_weights = NpyArray::open(directory / "given.npy");
}

TEST(Csc, WeightsFollowTheirEdgesAndParallelEdgesTheEdgeList) {
  const TemporaryDirectory directory;
  Dataset dataset = random_dataset<std::int16_t>(directory, 100, 20000);  // hundreds in parallel
  build_csc(dataset, directory.path(), {.threads = 1});
  const std::string unweighted = read_file(directory / "indices.npy");
  EXPECT_TRUE(Csc::open(directory.path()).view().weights.empty());
  const auto ends = dataset.edges.as<std::int16_t>();
  using Entry = std::tuple<std::int16_t, std::int16_t, float>;  // destination, source, weight
  std::vector<Entry> expected;
  for (std::size_t e = 0; e < 20000; ++e) expected.emplace_back(ends[20000 + e], ends[e], e);
  std::sort(expected.begin(), expected.end());
  const auto expect_for = [&](const CscOptions& options) {
    build_csc(dataset, directory.path(), options);
    EXPECT_EQ(read_file(directory / "indices.npy"), unweighted);
    const Csc csc = Csc::open(directory.path());
    const CscView view = csc.view();
    ASSERT_EQ(view.weights.size(), 20000u);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(view.neighbor(static_cast<std::int64_t>(i)), std::get<1>(expected[i]));
      ASSERT_EQ(view.weights[i], std::get<2>(expected[i])) << i << " with " << options.threads;
    }
  };
  give_weights<double>(dataset, directory);
  const std::vector<CscOptions> variants{{1}, {2}, {3}, {7}, {2, 1}, {2, 5000}};
  for (const CscOptions& options : variants) expect_for(options);
  give_weights<std::uint16_t>(dataset, directory);
  expect_for({.threads = 2});
}

TEST(Csc, GraphWithoutEdges) {
  const TemporaryDirectory directory;
  build_csc(random_dataset<std::int32_t>(directory, 3, 0), directory.path(), {.threads = 2});
  EXPECT_THAT(Csc::open(directory.path()).view().indptr, ElementsAre(0, 0, 0, 0));
  Dataset weighted = random_dataset<std::int32_t>(directory, 3, 0);
  give_weights<float>(weighted, directory);
  build_csc(weighted, directory.path(), {.threads = 2});
  EXPECT_TRUE(Csc::open(directory.path()).view().weights.empty());
}

TEST(Csc, RefusesEndsOutOfRangeBeforeWriting) {
  const TemporaryDirectory directory;
  Dataset dataset = random_dataset<std::int32_t>(directory, 100, 1000);
  dataset.num_nodes = 50;
  EXPECT_THROW(build_csc(dataset, directory.path(), {.threads = 2}), UsageError);
  EXPECT_FALSE(std::filesystem::exists(directory / "indices.npy"));
}

TEST(Csc, RefusesDamagedFiles) {
  const TemporaryDirectory directory;
  const auto expect_refused = [&](const std::vector<std::int64_t>& indptr) {
    write_values<std::int64_t>(directory / "indptr.npy", indptr);
    EXPECT_THROW(Csc::open(directory.path()), UsageError);
  };
  write_values<std::uint32_t>(directory / "indices.npy", {0, 1, 0});
  expect_refused({});
  expect_refused({0, 1});
  expect_refused({1, 3});
  expect_refused({0, 4, 3});
  expect_refused({0, -1, 3});
  write_values<std::int64_t>(directory / "indptr.npy", {0, 1, 3});
  EXPECT_NO_THROW(Csc::open(directory.path()));
  write_values<float>(directory / "weights.npy", {1, 2});
  EXPECT_THROW(Csc::open(directory.path()), UsageError);
  write_values<double>(directory / "weights.npy", {1, 2, 3});
  EXPECT_THROW(Csc::open(directory.path()), UsageError);
  write_values<float>(directory / "weights.npy", {1, 2, 3});
  EXPECT_NO_THROW(Csc::open(directory.path()));
  write_values<float>(directory / "indices.npy", {0, 1, 0});
  EXPECT_THROW(Csc::open(directory.path()), UsageError);
}

}  // namespace
}  // namespace gsplit
