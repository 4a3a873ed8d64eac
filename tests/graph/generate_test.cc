// The generated graphs have the properties that the header promises, whatever the threads.
#include "graph/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "graph/dataset.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

using testing::HasSubstr;

/// Every node is a training node, so that the dataset tells every node's class.
SbmOptions all_labeled() {
  return {.nodes = 3000,
          .degree = 12,
          .features = 30,
          .classes = 5,
          .seed = 11,
          .train_share = 1,
          .validation_share = 0,
          .test_share = 0};
}

class SbmTest : public testing::Test {
 protected:
  Dataset generate(const SbmOptions& options, const std::string& name = "g", int threads = 2) {
    generate_sbm(options, directory_ / name, threads);
    return open_dataset(directory_ / name);
  }
  std::string refusal(const SbmOptions& options) {
    try {
      generate(options, "refused");
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryDirectory directory_;
};

std::vector<std::pair<std::int32_t, std::int32_t>> edges_of(const Dataset& dataset) {
  const auto ends = dataset.edges.as<std::int32_t>();
  std::vector<std::pair<std::int32_t, std::int32_t>> edges;
  for (std::size_t e = 0; e < dataset.num_edges; ++e) {
    edges.emplace_back(ends[e], ends[dataset.num_edges + e]);
  }
  return edges;
}

TEST_F(SbmTest, IsASimpleUndirectedGraphOfTheDegreeAskedFor) {
  for (const std::uint64_t seed : {0, 1, 2}) {
    SbmOptions options = all_labeled();
    options.seed = seed;
    options.degree = 12.3;
    const Dataset dataset = generate(options, "g" + std::to_string(seed));
    EXPECT_NO_THROW(validate_arrays(dataset, 2));
    EXPECT_EQ(dataset.num_edges, 36900u);
    const auto edges = edges_of(dataset);
    const std::set<std::pair<std::int32_t, std::int32_t>> set(edges.begin(), edges.end());
    EXPECT_EQ(set.size(), edges.size());
    for (const auto& [u, v] : edges) {
      EXPECT_NE(u, v);
      EXPECT_TRUE(set.contains({v, u}));
    }
  }
}

TEST_F(SbmTest, ThreeQuartersOfTheEdgesStayInsideAClass) {
  const Dataset dataset = generate(all_labeled());
  std::size_t inside = 0;
  for (const auto& [u, v] : edges_of(dataset)) {
    inside += dataset.train.labels[static_cast<std::size_t>(u)] ==
              dataset.train.labels[static_cast<std::size_t>(v)];
  }
  EXPECT_EQ(inside, 27000u);
}

TEST_F(SbmTest, DegreesAreSkewedAndCapped) {
  SbmOptions options = all_labeled();
  options.nodes = 20000;
  options.features = 1;
  const Dataset dataset = generate(options);
  std::vector<double> degree(options.nodes);
  for (const auto& [u, v] : edges_of(dataset)) ++degree[static_cast<std::size_t>(v)];
  std::sort(degree.begin(), degree.end());
  EXPECT_GT(degree.back(), 20000 / 30 * 0.6);
  EXPECT_LT(degree.back(), 20000 / 30 * 1.4);
  EXPECT_LT(degree[10000], 8) << "the median lies far below the mean";
  // The tail falls with 1.3: ten times the degree, a twentieth of the nodes.
  const auto above = [&](double d) {
    return static_cast<double>(degree.end() - std::upper_bound(degree.begin(), degree.end(), d));
  };
  EXPECT_NEAR(std::log10(above(15) / above(150)), 1.3, 0.2);
}

TEST_F(SbmTest, ClassesAreUnequalAndIdsCarryNoOrder) {
  const Dataset dataset = generate(all_labeled());
  std::vector<double> size(5);
  std::size_t same_as_next = 0;
  for (std::size_t v = 0; v < 3000; ++v) {
    EXPECT_EQ(dataset.train.nodes[v], v);
    ++size[static_cast<std::size_t>(dataset.train.labels[v])];
    same_as_next += v > 0 && dataset.train.labels[v] == dataset.train.labels[v - 1];
  }
  EXPECT_GT(*std::max_element(size.begin(), size.end()),
            1.2 * *std::min_element(size.begin(), size.end()));
  double expected = 0;
  for (const double s : size) expected += s * s / 3000;
  EXPECT_NEAR(static_cast<double>(same_as_next), expected, 150);
}

TEST_F(SbmTest, FeaturesAreHalfTheCentrePlusNoiseOfTwo) {
  SbmOptions options = all_labeled();
  options.features = 201;  // no multiple of Philox's four words
  const Dataset dataset = generate(options);
  const auto features = dataset.features.as<float>();
  std::vector<double> mean(5 * 201), size(5);
  for (std::size_t v = 0; v < 3000; ++v) {
    const auto c = static_cast<std::size_t>(dataset.train.labels[v]);
    ++size[c];
    for (std::size_t f = 0; f < 201; ++f) mean[c * 201 + f] += features[v * 201 + f];
  }
  double centres = 0, noise = 0, cubed = 0;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    mean[i] /= size[i / 201];
    centres += mean[i] * mean[i] / 1005;
  }
  for (std::size_t v = 0; v < 3000; ++v) {
    for (std::size_t f = 0; f < 201; ++f) {
      const double x =
          features[v * 201 + f] - mean[static_cast<std::size_t>(dataset.train.labels[v]) * 201 + f];
      noise += x * x / (3000 * 201);
      cubed += x * x * x / (3000 * 201);
    }
  }
  EXPECT_NEAR(std::sqrt(centres), 0.5, 0.04);
  EXPECT_NEAR(std::sqrt(noise), 2.0, 0.01);
  EXPECT_NEAR(cubed, 0.0, 0.1);
}

TEST_F(SbmTest, SplitsHaveTheirSharesAndAreDisjoint) {
  SbmOptions options = all_labeled();
  options.train_share = 0.10;
  options.validation_share = 0.05;
  options.test_share = 0.20;
  const Dataset dataset = generate(options);
  EXPECT_EQ(dataset.train.nodes.size(), 300u);
  EXPECT_EQ(dataset.validation.nodes.size(), 150u);
  EXPECT_EQ(dataset.test.nodes.size(), 600u);
  std::set<std::uint64_t> all;
  for (const auto* split : {&dataset.train, &dataset.validation, &dataset.test}) {
    EXPECT_TRUE(std::is_sorted(split->nodes.begin(), split->nodes.end()));
    all.insert(split->nodes.begin(), split->nodes.end());
  }
  EXPECT_EQ(all.size(), 1050u);
  const Dataset whole = generate(all_labeled(), "whole");
  for (std::size_t i = 0; i < 300; ++i) {
    EXPECT_EQ(dataset.train.labels[i], whole.train.labels[dataset.train.nodes[i]]);
  }
}

TEST_F(SbmTest, SameFilesForAnyNumberOfThreads) {
  SbmOptions options = all_labeled();
  options.train_share = options.validation_share = options.test_share = 0.3;
  generate(options, "one", 1);
  for (const int threads : {2, 3, 7}) {
    const std::string name = std::to_string(threads);
    generate(options, name, threads);
    for (const auto& entry : std::filesystem::directory_iterator(directory_ / "one")) {
      const auto file = entry.path().filename();
      EXPECT_EQ(read_file(directory_ / name / file), read_file(entry.path())) << file;
    }
  }
}

TEST_F(SbmTest, TheSeedChangesEverything) {
  SbmOptions options = all_labeled();
  options.train_share = 0.3;
  generate(options, "one");
  options.seed = std::uint64_t{11} << 32;
  generate(options, "other");
  for (const char* file : {"edges.npy", "feat.npy", "train_seeds.npy", "train_labels.npy"}) {
    EXPECT_NE(read_file(directory_ / "one" / file), read_file(directory_ / "other" / file)) << file;
  }
}

TEST_F(SbmTest, SmallAndDenseGraphs) {
  SbmOptions options = all_labeled();
  options.nodes = 40;
  options.degree = 8;
  options.classes = 1;
  EXPECT_EQ(generate(options, "one class").num_edges, 320u);
  options.nodes = 2;
  options.degree = 1;
  EXPECT_EQ(generate(options, "one pair").num_edges, 2u);
}

TEST_F(SbmTest, RefusesWhatCannotBe) {
  const auto expect = [&](auto change, const std::string& part) {
    SbmOptions options = all_labeled();
    change(options);
    EXPECT_THAT(refusal(options), HasSubstr(part));
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path())) << "something was left behind";
  };
  expect([](SbmOptions& o) { o.nodes = 1; }, "--nodes");
  expect([](SbmOptions& o) { o.nodes = std::uint64_t{1} << 33; }, "--nodes");
  expect([](SbmOptions& o) { o.degree = 0; }, "--degree");
  expect([](SbmOptions& o) { o.degree = std::nan(""); }, "--degree");
  expect([](SbmOptions& o) { o.degree = 1e9; }, "--degree");
  expect([](SbmOptions& o) { o.features = 0; }, "--features");
  expect([](SbmOptions& o) { o.classes = 0; }, "--classes");
  expect([](SbmOptions& o) { o.classes = 3001; }, "--classes");
  expect([](SbmOptions& o) { o.train_share = 0; }, "--train-share");
  expect([](SbmOptions& o) { o.test_share = 0.1; }, "sum");
  expect([](SbmOptions& o) { o.test_share = -0.1; }, "--test-share");
  expect([](SbmOptions& o) { o.nodes = 100, o.degree = 90; }, "too dense");
}

TEST_F(SbmTest, NeverWritesIntoWhatExists) {
  generate(all_labeled());
  try {
    generate(all_labeled());
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("exists already"));
  }
  EXPECT_NO_THROW(open_dataset(directory_ / "g"));
}

class RmatTest : public SbmTest {
 protected:
  static RmatOptions options() {
    return {.nodes = 5000,
            .degree = 16,
            .features = 3,
            .classes = 4,
            .seed = 5,
            .splits = {.train = 1, .validation = 0, .test = 0}};
  }
  Dataset generate_rmat_in(const std::string& name, const RmatOptions& options, int threads = 2) {
    generate_rmat(options, directory_ / name, threads);
    return open_dataset(directory_ / name);
  }
  static std::vector<std::uint32_t> in_degrees(const Dataset& dataset) {
    return count_in_degrees(dataset.edges, dataset.num_nodes, 2);
  }
};

TEST_F(RmatTest, HasTheEdgesAskedForWithinTheNodes) {
  for (const std::uint64_t nodes : {2ull, 3ull, 4096ull, 4097ull, 5000ull}) {
    RmatOptions of = options();
    of.nodes = nodes;
    of.classes = 2;
    const Dataset dataset = generate_rmat_in("g" + std::to_string(nodes), of);
    EXPECT_EQ(dataset.num_edges, nodes * 16);
    EXPECT_NO_THROW(validate_arrays(dataset, 2));
  }
}

TEST_F(RmatTest, QuadrantsHaveTheSharesOfGraph500) {
  // Two nodes: one level, so the edge is the quadrant; which node is the low one is scrambled.
  RmatOptions of = options();
  of.nodes = 2;
  of.degree = 100000;
  of.classes = 1;
  double share[2][2] = {};
  for (const auto& [u, v] : edges_of(generate_rmat_in("g", of))) share[u][v] += 1 / 200000.0;
  const int low = share[0][0] > share[1][1] ? 0 : 1;
  EXPECT_NEAR(share[low][low], 0.57, 0.005);
  EXPECT_NEAR(share[low][1 - low], 0.19, 0.005);
  EXPECT_NEAR(share[1 - low][low], 0.19, 0.005);
  EXPECT_NEAR(share[1 - low][1 - low], 0.05, 0.005);
}

TEST_F(RmatTest, IsSkewedAndIdsTellNothing) {
  const std::vector<std::uint32_t> degrees = in_degrees(generate_rmat_in("g", options()));
  std::vector<std::uint32_t> sorted = degrees;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_GT(sorted.back(), 40 * 16);
  EXPECT_LT(sorted[2500], 8u) << "the median lies far below the mean";
  double low_half = 0;
  for (std::size_t v = 0; v < 2500; ++v) low_half += degrees[v] / 80000.0;
  EXPECT_NEAR(low_half, 0.5, 0.15);
}

TEST_F(RmatTest, ClassesAreOfEqualSizeAndRiseWithTheInDegree) {
  const Dataset dataset = generate_rmat_in("g", options());
  const std::vector<std::uint32_t> degrees = in_degrees(dataset);
  std::vector<std::uint32_t> least(4, ~0u), most(4, 0);
  std::vector<int> size(4);
  for (std::size_t v = 0; v < 5000; ++v) {
    const auto c = static_cast<std::size_t>(dataset.train.labels[v]);
    least[c] = std::min(least[c], degrees[v]);
    most[c] = std::max(most[c], degrees[v]);
    ++size[c];
  }
  for (std::size_t c = 0; c < 4; ++c) EXPECT_NEAR(size[c], 1250, 125);
  for (std::size_t c = 1; c < 4; ++c) EXPECT_LE(most[c - 1], least[c]);
}

TEST_F(RmatTest, TheSameFilesForAnyThreadsAndOthersForAnotherSeed) {
  generate_rmat_in("one", options(), 1);
  generate_rmat_in("three", options(), 3);
  RmatOptions other = options();
  other.seed = 6;
  generate_rmat_in("other", other);
  for (const char* name : {"edges.npy", "feat.npy", "train_seeds.npy", "train_labels.npy"}) {
    EXPECT_EQ(read_file(directory_ / "one" / name), read_file(directory_ / "three" / name)) << name;
  }
  EXPECT_NE(read_file(directory_ / "one" / "edges.npy"),
            read_file(directory_ / "other" / "edges.npy"));
}

TEST_F(RmatTest, NarrowFeaturesAreTheWideOnesRounded) {
  generate_rmat_in("wide", options());
  const NpyArray wide = NpyArray::open(directory_ / "wide" / "feat.npy");
  RmatOptions narrow = options();
  narrow.feature_dtype = DType::kBF16;
  generate_rmat_in("bf16", narrow);
  narrow.feature_dtype = DType::kF16;
  generate_rmat_in("fp16", narrow);
  const NpyArray brain = NpyArray::open(directory_ / "bf16" / "feat.npy");
  const NpyArray half = NpyArray::open(directory_ / "fp16" / "feat.npy");
  ASSERT_EQ(brain.shape(), wide.shape());
  for (std::size_t i = 0; i < wide.num_elements(); ++i) {
    ASSERT_EQ(brain.as<BFloat16>()[i].bits, to_bfloat16(wide.as<float>()[i]).bits) << i;
    ASSERT_EQ(half.as<Half>()[i].bits, to_half(wide.as<float>()[i]).bits) << i;
  }
  EXPECT_NO_THROW(validate_arrays(open_dataset(directory_ / "bf16"), 2));
}

TEST_F(RmatTest, RefusesWhatCannotBe) {
  const auto refusal_of = [&](auto change) {
    RmatOptions of = options();
    change(of);
    try {
      generate_rmat_in("refused", of);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refusal_of([](RmatOptions& o) { o.nodes = 1; }), HasSubstr("--nodes"));
  EXPECT_THAT(refusal_of([](RmatOptions& o) { o.degree = 0; }), HasSubstr("--degree"));
  EXPECT_THAT(refusal_of([](RmatOptions& o) { o.classes = 5001; }), HasSubstr("--classes"));
  EXPECT_THAT(refusal_of([](RmatOptions& o) { o.features = 0; }), HasSubstr("--features"));
  EXPECT_THAT(refusal_of([](RmatOptions& o) { o.splits.train = 0; }), HasSubstr("--train-share"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "refused"));
}

}  // namespace
}  // namespace gsplit
