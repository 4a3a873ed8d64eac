// In-degrees from the edge list, from a CSC and from the parts of one.
#include "graph/degree_statistics.h"

#include <gtest/gtest.h>

#include "graph/csc.h"
#include "tests/graph/small_dataset.h"

namespace gsplit {
namespace {

void expect_small_graphs(const DegreeStatistics& degree) {
  EXPECT_EQ(degree.min, 0u);
  EXPECT_EQ(degree.max, 3u);
  EXPECT_EQ(degree.nodes, 5u);
  EXPECT_EQ(degree.edges, 7u);
  EXPECT_DOUBLE_EQ(degree.mean(), 1.4);
}

TEST(DegreeStatistics, AgreeFromEdgesCscAndParts) {
  const TemporaryDirectory directory;
  write_small_dataset(directory.path());
  const Dataset dataset = open_dataset(directory.path());
  for (const int threads : {1, 3}) expect_small_graphs(in_degree_statistics(dataset, threads));
  build_csc(dataset, directory.path(), {.threads = 1});
  const Csc csc = Csc::open(directory.path());
  const auto indptr = csc.view().indptr;
  expect_small_graphs(in_degree_statistics(indptr));
  for (std::size_t cut = 0; cut < 6; ++cut) {
    expect_small_graphs(combine(in_degree_statistics(indptr.first(cut + 1)),
                                in_degree_statistics(indptr.subspan(cut))));
  }
}

TEST(DegreeStatistics, OfNothingAreZero) {
  EXPECT_EQ(in_degree_statistics(std::span<const std::int64_t>{}).mean(), 0.0);
}

}  // namespace
}  // namespace gsplit
