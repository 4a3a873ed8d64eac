// Datasets on disk: what is valid opens with its contents, and every fault is refused in one line
// that names the file.
#include "graph/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <random>

#include "tests/graph/small_dataset.h"

namespace gsplit {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Path = std::filesystem::path;

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

class DatasetTest : public testing::Test {
 protected:
  DatasetTest() { write_small_dataset(directory_.path()); }

  Dataset open() const { return open_dataset(directory_.path()); }
  std::string open_refusal() const {
    return refusal([&] { open(); });
  }
  std::string validate_refusal(int threads = 2) const {
    return refusal([&] { validate_arrays(open(), threads); });
  }
  /// Writes the metadata with one change and says how it is refused.
  std::string metadata_refusal(const std::string& from, const std::string& to) const {
    write_file(directory_ / "metadata.yaml", replaced(small_metadata(), from, to));
    return open_refusal();
  }

  TemporaryDirectory directory_;
};

TEST_F(DatasetTest, OpensWithItsContents) {
  const Dataset dataset = open();
  EXPECT_EQ(dataset.name, "small");
  EXPECT_EQ(dataset.num_nodes, 5u);
  EXPECT_EQ(dataset.num_edges, 7u);
  EXPECT_EQ(dataset.num_classes, 3u);
  EXPECT_EQ(dataset.feature_width(), 2u);
  EXPECT_THAT(dataset.train.nodes, ElementsAre(3, 0));
  EXPECT_THAT(dataset.train.labels, ElementsAre(2, 0));
  EXPECT_THAT(dataset.validation.nodes, ElementsAre(1));
  EXPECT_THAT(dataset.test.labels, ElementsAre(0, 1));
  EXPECT_NO_THROW(validate_arrays(dataset, 1));
}

TEST_F(DatasetTest, AcceptsTheFormsThatExist) {
  const auto accepts = [&](const std::string& from, const std::string& to) {
    EXPECT_EQ(metadata_refusal(from, to), "accepted") << to;
  };
  accepts("name: seeds", "name: seed_nodes");
  accepts("name: seeds", "name: indexes");
  accepts("nodes: [{num: 5}]", "nodes: [{type: null, num: 5}]");
  accepts("dataset_name: small\n", "");
  accepts("  - {domain: node",
          "  - {domain: edge, name: w, format: numpy, path: w.npy}\n  - {domain: node");
  accepts("name: feat", "name: x");
  write_values<float>(directory_ / "test_labels.npy", {0.0f, 1.0f}, {2, 1});
  accepts("small", "other");
  write_values<std::uint8_t>(directory_ / "train_labels.npy", {2, 0});
  write_values<std::uint16_t>(directory_ / "train_seeds.npy", {3, 0});
  accepts("small", "other");
}

TEST_F(DatasetTest, ValidationAndTestMayBeAbsent) {
  const std::string text = small_metadata();
  write_file(directory_ / "metadata.yaml", text.substr(0, text.find("    validation_set")));
  EXPECT_TRUE(open().validation.nodes.empty());
  EXPECT_TRUE(open().test.nodes.empty());
}

TEST_F(DatasetTest, RefusesWhatTheMetadataMayNotSay) {
  const auto expect = [&](const std::string& from, const std::string& to, const std::string& part) {
    EXPECT_THAT(metadata_refusal(from, to),
                AllOf(HasSubstr("metadata.yaml"), HasSubstr(part), HasSubstr("; ")))
        << to;
  };
  expect("{num: 5}", "{type: user, num: 5}", "graph.nodes[0] has a type");
  expect("{num: 5}", "{num: 5}, {num: 6}", "graph.nodes has 2 entries");
  expect("{format: numpy, path: edges.npy}", "{type: 'a:b:c', format: numpy, path: edges.npy}",
         "graph.edges[0] has a type");
  expect("format: numpy, path: edges.npy", "format: csv, path: edges.csv", "csv");
  expect("format: numpy, path: edges.npy", "format: parquet, path: edges.csv", "parquet");
  expect("format: numpy, path: edges.npy", "format: numpy", "no key 'path'");
  expect("format: numpy, in_memory", "format: torch, in_memory", "numpy.save");
  expect("[{data:", "[{type: user, data:", "train_set[0] has a type");
  expect("    num_classes: 3\n", "", "no key 'num_classes'");
  expect("num_classes: 3", "num_classes: 0", "expected an integer");
  expect("num_classes: 3", "num_classes: 3000000000", "expected an integer");
  expect("num: 5", "num: -5", "expected an integer");
  expect("num: 5", "num: 99999999999999999999", "expected an integer");
  expect("num: 5", "num: five", "expected an integer");
  expect("num: 5", "num: [5]", "plain value");
  expect("nodes: [{num: 5}]", "nodes: {num: 5}", "not a list");
  expect("nodes: [{num: 5}]", "nodes: [5]", "not a mapping");
  expect("nodes: [{num: 5}]", "nodes: []", "0 entries");
  expect("graph:", "graf:", "no key 'graph'");
  expect("feature_data:", "features:", "no key 'feature_data'");
  expect("domain: node", "domain: edge", "no entry of domain node");
  expect("    train_set:", "    trane_set:", "no key 'train_set'");
  expect("name: seeds", "name: node_pairs", "no entry named seeds");
  expect("tasks:", "tasks: [", "not valid YAML");
  expect("path: feat.npy", "path: ''", "is empty");
}

TEST_F(DatasetTest, OddYamlNeverCrashes) {
  const std::string bomb =
      "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
      "graph: {nodes: [*c,*c,*c,*c]}\n";
  for (const std::string& text :
       {std::string(), std::string("~"), std::string("[]"), std::string("graph"), bomb,
        std::string("&a {graph: *a}"), std::string(200000, '['), std::string(200000, '{'),
        std::string(1000000, '-'), std::string(2000000, ' '), std::string("\0\1\2", 3),
        std::string("graph: !!binary x"), std::string("? [a]\n: b")}) {
    write_file(directory_ / "metadata.yaml", text);
    EXPECT_THAT(open_refusal(), HasSubstr("metadata.yaml")) << text.substr(0, 40);
  }
}

TEST_F(DatasetTest, DamagedYamlIsRefusedOrHarmless) {
  std::mt19937 random(7);
  for (int i = 0; i < 400; ++i) {
    std::string text = small_metadata();
    for (int j = 0; j < 4; ++j)
      text[random() % text.size()] = " {}[]:-&*'\"#|>!%@\n\tx0"[random() % 21];
    write_file(directory_ / "metadata.yaml", text);
    open_refusal();
  }
}

TEST_F(DatasetTest, RefusesAMissingFile) {
  EXPECT_THAT(refusal([&] { open_dataset(directory_ / "absent"); }), HasSubstr("metadata.yaml"));
  std::filesystem::remove(directory_ / "feat.npy");
  EXPECT_THAT(open_refusal(), AllOf(HasSubstr("feat.npy"), HasSubstr("No such file")));
}

TEST_F(DatasetTest, RefusesWrongShapesAndTypes) {
  const Path edges = directory_ / "edges.npy";
  write_values<std::int32_t>(edges, std::vector<std::int32_t>(14), {7, 2});
  EXPECT_THAT(open_refusal(), AllOf(HasSubstr("edges.npy"), HasSubstr("(7, 2)")));
  write_values<std::int32_t>(edges, std::vector<std::int32_t>(14), {14});
  EXPECT_THAT(open_refusal(), HasSubstr("expected (2, edges)"));
  write_values<float>(edges, std::vector<float>(14), {2, 7});
  EXPECT_THAT(open_refusal(), HasSubstr("holds f4"));
  write_small_dataset(directory_.path());
  const Path features = directory_ / "feat.npy";
  for (const std::vector<std::uint64_t>& shape :
       {std::vector<std::uint64_t>{2, 5}, {10}, {5, 2, 1}, {5, 0}}) {
    write_values<float>(features, std::vector<float>(shape.back() == 0 ? 0 : 10), shape);
    EXPECT_THAT(open_refusal(), AllOf(HasSubstr("feat.npy"), HasSubstr("expected (5, width)")));
  }
  write_values<double>(features, std::vector<double>(10), {5, 2});
  EXPECT_THAT(open_refusal(), HasSubstr("float32"));
}

TEST_F(DatasetTest, RefusesBadSeeds) {
  const Path seeds = directory_ / "train_seeds.npy";
  write_values<std::int64_t>(seeds, {3, 5});
  EXPECT_THAT(open_refusal(),
              AllOf(HasSubstr("train_seeds.npy"), HasSubstr("node 5 at position 1")));
  write_values<std::int8_t>(seeds, {-1, 3});
  EXPECT_THAT(open_refusal(), HasSubstr("node -1 at position 0"));
  write_values<std::int64_t>(seeds, {3, 3});
  EXPECT_THAT(open_refusal(), HasSubstr("node 3 twice, at positions 0 and 1"));
  write_values<std::int64_t>(seeds, {3});
  EXPECT_THAT(open_refusal(), HasSubstr("2 labels for 1 seeds"));
  write_values<std::int64_t>(seeds, {3, 0}, {1, 2});
  EXPECT_THAT(open_refusal(), HasSubstr("shape (1, 2)"));
  write_values<float>(seeds, {3, 0});
  EXPECT_THAT(open_refusal(), HasSubstr("integer"));
}

TEST_F(DatasetTest, RefusesAnEmptyTrainingSet) {
  write_values<std::int64_t>(directory_ / "train_seeds.npy", {});
  write_values<std::int64_t>(directory_ / "train_labels.npy", {});
  EXPECT_THAT(open_refusal(), HasSubstr("is empty"));
}

TEST_F(DatasetTest, RefusesBadLabels) {
  const Path labels = directory_ / "train_labels.npy";
  const auto expect = [&](const std::string& part) {
    EXPECT_THAT(open_refusal(), AllOf(HasSubstr("train_labels.npy"), HasSubstr(part)));
  };
  write_values<std::int64_t>(labels, {2, 3});
  expect("label 3 at position 1");
  write_values<std::int32_t>(labels, {-1, 0});
  expect("label -1 at position 0");
  write_values<float>(labels, {2.0f, std::nanf("")});
  expect("nan at position 1");
  write_values<double>(labels, {0.5, 0});
  expect("0.5");
  write_values<double>(labels, {std::numeric_limits<double>::infinity(), 0});
  expect("inf");
  write_values<double>(labels, {-1e-300, 0});
  expect("position 0");
  write_values<std::int64_t>(labels, {1, 0, 0, 1}, {2, 2});
  expect("multi-label");
}

/// The small dataset with three labels a node. Nodes 3 and 0 train.
void write_multi_label(const Path& directory) {
  write_values<std::int64_t>(directory / "train_labels.npy", {1, 0, 1, 0, 0, 0}, {2, 3});
  write_values<float>(directory / "valid_labels.npy", {0, 1, 1}, {1, 3});
  NpyWriter test(directory / "test_labels.npy", {'b', 1}, {2, 3});
  const std::uint8_t rows[] = {1, 1, 0, 0, 0, 1};
  std::copy(std::begin(rows), std::end(rows), reinterpret_cast<std::uint8_t*>(test.bytes().data()));
  test.close();
}

TEST_F(DatasetTest, ColumnsOfLabelsMakeAMultiLabelTask) {
  EXPECT_EQ(open().task, Task::kMultiClass);
  write_multi_label(directory_.path());
  const Dataset dataset = open();
  EXPECT_EQ(dataset.task, Task::kMultiLabel);
  EXPECT_THAT(dataset.train.label_rows, ElementsAre(1, 0, 1, 0, 0, 0));
  EXPECT_THAT(dataset.validation.label_rows, ElementsAre(0, 1, 1));
  EXPECT_THAT(dataset.test.label_rows, ElementsAre(1, 1, 0, 0, 0, 1));
  EXPECT_TRUE(dataset.train.labels.empty());
}

TEST_F(DatasetTest, RefusesBadMultiLabels) {
  const Path labels = directory_ / "train_labels.npy";
  const auto expect = [&](const char* file, const std::string& part) {
    EXPECT_THAT(open_refusal(), AllOf(HasSubstr(file), HasSubstr(part), HasSubstr("; ")));
    write_multi_label(directory_.path());
  };
  write_multi_label(directory_.path());
  write_values<std::int64_t>(labels, {1, 0, 1, 0, 2, 0}, {2, 3});
  expect("train_labels.npy", "holds 2 at position 1, column 1, expected 0 or 1");
  write_values<std::int8_t>(labels, {1, 0, -1, 0, 0, 0}, {2, 3});
  expect("train_labels.npy", "holds -1 at position 0, column 2");
  write_values<float>(labels, {1, 0, 0, std::nanf(""), 0, 0}, {2, 3});
  expect("train_labels.npy", "nan at position 1, column 0");
  write_values<double>(labels, {1, 0, 0.5, 0, 0, 0}, {2, 3});
  expect("train_labels.npy", "0.5");
  NpyWriter flags(labels, {'b', 1}, {2, 3});
  reinterpret_cast<std::uint8_t*>(flags.bytes().data())[5] = 7;
  flags.close();
  expect("train_labels.npy", "holds 7 at position 1, column 2");
  write_values<std::int64_t>(labels, {1, 0, 1, 0}, {2, 2});
  expect("train_labels.npy", "shape (2, 2), expected (seeds) or (seeds, 3)");
  write_values<std::int64_t>(labels, {1, 0, 1, 0, 0, 0}, {2, 3, 1});
  expect("train_labels.npy", "shape (2, 3, 1)");
  write_values<std::int64_t>(labels, {1, 0, 1}, {1, 3});
  expect("train_labels.npy", "1 labels for 2 seeds");
  write_values<std::int64_t>(directory_ / "valid_labels.npy", {1});
  expect("valid_labels.npy", "has shape (1), and train_labels.npy has (2, 3)");
  write_values<std::int64_t>(labels, {2, 0});
  expect("valid_labels.npy", "has shape (1, 3), and train_labels.npy has (2)");
}

TEST_F(DatasetTest, RefusesTwoLabelRowsForOneNode) {
  write_multi_label(directory_.path());
  write_values<std::int64_t>(directory_ / "test_seeds.npy", {2, 3});
  EXPECT_THAT(open_refusal(),
              AllOf(HasSubstr("test_labels.npy"),
                    HasSubstr("node 3 the value 0 in column 0 at position 1, and train_labels.npy "
                              "the value 1 in column 0")));
  write_values<std::uint8_t>(directory_ / "test_labels.npy", {1, 1, 0, 1, 0, 1}, {2, 3});
  EXPECT_EQ(open_refusal(), "accepted");
}

TEST_F(DatasetTest, RefusesTwoClassesForOneNode) {
  write_values<std::int64_t>(directory_ / "test_seeds.npy", {2, 3});
  EXPECT_THAT(open_refusal(),
              AllOf(HasSubstr("test_labels.npy"), HasSubstr("node 3 class 1 at position 1")));
  write_values<std::int64_t>(directory_ / "test_labels.npy", {0, 2});
  EXPECT_EQ(open_refusal(), "accepted");
}

TEST_F(DatasetTest, ValidationNamesTheFirstBadEdge) {
  std::vector<std::int32_t> ends{4, 0, 1, 2, 5, 3, 6, 0, 1, 2, 0, 0, 4, 4};
  write_values<std::int32_t>(directory_ / "edges.npy", ends, {2, 7});
  for (const int threads : {1, 2, 5}) {
    EXPECT_THAT(validate_refusal(threads),
                AllOf(HasSubstr("edges.npy"), HasSubstr("source 5 at edge 4")));
  }
  ends[4] = ends[6] = 0;
  ends[9] = -1;
  write_values<std::int32_t>(directory_ / "edges.npy", ends, {2, 7});
  EXPECT_THAT(validate_refusal(), HasSubstr("destination -1 at edge 2"));
}

TEST_F(DatasetTest, ValidationNamesTheFirstFeatureThatIsNotFinite) {
  std::vector<float> features(10);
  features[7] = std::nanf("");
  features[9] = -std::numeric_limits<float>::infinity();
  write_values<float>(directory_ / "feat.npy", features, {5, 2});
  EXPECT_THAT(validate_refusal(), AllOf(HasSubstr("feat.npy"), HasSubstr("node 3, column 1")));
  NpyWriter half(directory_ / "feat.npy", {'f', 2}, {5, 2});
  reinterpret_cast<std::uint16_t*>(half.bytes().data())[2] = 0xFC00;
  half.close();
  EXPECT_THAT(validate_refusal(), HasSubstr("node 1, column 0"));
}

TEST_F(DatasetTest, FindsTheFirstOfManyWhateverTheThreads) {
  std::vector<float> features(std::size_t{5} * 60000);
  for (const std::size_t at : {299999u, 123456u, 200000u}) features[at] = INFINITY;
  write_values<float>(directory_ / "feat.npy", features, {5, 60000});
  for (const int threads : {1, 2, 3, 8}) {
    EXPECT_THAT(validate_refusal(threads), HasSubstr("node 2, column 3456"));
  }
}

class EdgeWeights : public DatasetTest {
 protected:
  EdgeWeights() {
    write_values<float>(directory_ / "w.npy", {1, 2, 3, 4, 5, 6, 7});
    in_top_level("weight");
  }
  void in_top_level(const std::string& name) {
    write_file(directory_ / "metadata.yaml",
               replaced(small_metadata(), "  - {domain: node",
                        "  - " + entry(name) + "\n  - {domain: node"));
  }
  void in_graph(const std::string& name) {
    write_file(directory_ / "metadata.yaml",
               replaced(small_metadata(),
                        "feature_data:", "  feature_data: [" + entry(name) + "]\nfeature_data:"));
  }
  static std::string entry(const std::string& name) {
    return "{domain: edge, type: null, name: " + name + ", format: numpy, path: w.npy}";
  }
  std::vector<float> weights() const {
    const Dataset dataset = open();
    validate_edges(dataset, 2);
    const std::vector<std::uint64_t> all{0, 1, 2, 3, 4, 5, 6};
    std::vector<float> found(all.size());
    gather_edge_weights(dataset, all, found, 2);
    return found;
  }
};

TEST_F(EdgeWeights, AreFoundInBothPlacesUnderBothNames) {
  for (const std::string name : {"weight", "edge_weight"}) {
    in_top_level(name);
    EXPECT_THAT(weights(), ElementsAre(1, 2, 3, 4, 5, 6, 7));
    in_graph(name);
    EXPECT_THAT(weights(), ElementsAre(1, 2, 3, 4, 5, 6, 7));
  }
  in_graph("time");
  EXPECT_FALSE(open().edge_weights);
}

TEST_F(EdgeWeights, MayBeOfAnyTypeOfNumberAndAColumn) {
  const Path file = directory_ / "w.npy";
  write_values<double>(file, {0.5, 1e-60, 0, -0.0, 1, 1, 3.25}, {7, 1});
  EXPECT_THAT(weights(), ElementsAre(0.5, 0, 0, 0, 1, 1, 3.25));
  write_values<std::int8_t>(file, {0, 1, 2, 3, 4, 5, 127});
  EXPECT_THAT(weights(), ElementsAre(0, 1, 2, 3, 4, 5, 127));
  write_values<std::uint64_t>(file, {0, 1, 2, 3, 4, 5, std::uint64_t{1} << 63});
  EXPECT_EQ(weights().back(), 0x1p63f);
  NpyWriter half(file, {'f', 2}, {7});
  for (std::size_t i = 0; i < 7; ++i) {
    reinterpret_cast<std::uint16_t*>(half.bytes().data())[i] = i == 3 ? 0x3800 : 0x3C00;
  }
  half.close();
  EXPECT_THAT(weights(), ElementsAre(1, 1, 1, 0.5, 1, 1, 1));
}

TEST_F(EdgeWeights, RefusalsNameFileAndPosition) {
  const Path file = directory_ / "w.npy";
  const auto expect = [&](const std::string& part) {
    EXPECT_THAT(validate_refusal(), AllOf(HasSubstr("w.npy"), HasSubstr(part), HasSubstr("; ")));
  };
  write_values<float>(file, {1, 1, 1, -1, 1, 1, -1});
  expect("-1.000000 at edge 3");
  write_values<float>(file, {1, 1, 1, 1, 1, std::nanf(""), -1});
  expect("nan at edge 5");
  write_values<double>(file, {1, 1e39, 1, 1, 1, 1, 1});  // infinite as f4
  expect("at edge 1, expected a finite weight");
  write_values<std::int32_t>(file, {1, 1, 1, 1, 1, 1, -7});
  expect("-7 at edge 6");
  NpyWriter half(file, {'f', 2}, {7});
  reinterpret_cast<std::uint16_t*>(half.bytes().data())[2] = 0x7C00;
  half.close();
  expect("inf at edge 2");
  write_values<float>(file, {1, 1, 1});
  expect("has shape (3), expected (7)");
  write_values<float>(file, std::vector<float>(14), {7, 2});
  expect("has shape (7, 2)");
  NpyWriter booleans(file, {'b', 1}, {7});
  booleans.close();
  expect("expected numbers");
  std::filesystem::remove(file);
  expect("No such file");
  write_file(
      directory_ / "metadata.yaml",
      replaced(small_metadata(), "  - {domain: node",
               "  - " + entry("weight") + "\n  - " + entry("edge_weight") + "\n  - {domain: node"));
  EXPECT_THAT(open_refusal(), HasSubstr("gives edge weights once more"));
  write_file(directory_ / "metadata.yaml",
             replaced(small_metadata(), "  - {domain: node",
                      "  - {domain: edge, type: 'a:b:c', name: weight}\n  - {domain: node"));
  EXPECT_THAT(open_refusal(), HasSubstr("typed edges"));
}

TEST_F(EdgeWeights, AreInTheFingerprint) {
  const std::string weighted = content_fingerprint(open());
  write_values<float>(directory_ / "w.npy", {1, 2, 3, 4, 5, 6, 8});
  EXPECT_NE(content_fingerprint(open()), weighted);
  write_small_dataset(directory_.path());
  EXPECT_NE(content_fingerprint(open()), weighted);
}

TEST_F(DatasetTest, FingerprintFollowsContentOnly) {
  const std::string original = content_fingerprint(open());
  EXPECT_EQ(original.size(), 64u);
  const TemporaryDirectory elsewhere;
  write_small_dataset(elsewhere.path());
  EXPECT_EQ(content_fingerprint(open_dataset(elsewhere.path())), original);
  write_values<std::int64_t>(elsewhere / "test_labels.npy", {0, 2});
  EXPECT_NE(content_fingerprint(open_dataset(elsewhere.path())), original);
  write_small_dataset(elsewhere.path());
  write_values<float>(elsewhere / "feat.npy", {0, 1, 2, 3, 4, 5, 6, 7, 8, 10}, {5, 2});
  EXPECT_NE(content_fingerprint(open_dataset(elsewhere.path())), original);
}

TEST_F(DatasetTest, FingerprintFollowsMultiLabels) {
  // What it was before there were multi-label tasks: fingerprints in old runs stay comparable.
  EXPECT_EQ(content_fingerprint(open()),
            "926634384e96f3770409607fd262c85235b32b4f5ad008c15242c0fa5fcd2e7f");
  write_multi_label(directory_.path());
  const std::string original = content_fingerprint(open());
  write_values<double>(directory_ / "valid_labels.npy", {0, 1, 1}, {1, 3});
  EXPECT_EQ(content_fingerprint(open()), original);  // the same labels in another type
  write_values<double>(directory_ / "valid_labels.npy", {0, 1, 0}, {1, 3});
  EXPECT_NE(content_fingerprint(open()), original);
}

TEST_F(DatasetTest, WrittenMultiLabelsReadBack) {
  write_multi_label(directory_.path());
  const Dataset original = open();
  const TemporaryDirectory copy;
  for (const char* name : {"edges.npy", "feat.npy"}) {
    std::filesystem::copy_file(directory_ / name, copy / name);
  }
  write_dataset_metadata(copy.path(), {"copy", 5, 3, original.train, {}, original.test});
  const Dataset read = open_dataset(copy.path());
  EXPECT_EQ(read.task, Task::kMultiLabel);
  EXPECT_EQ(read.train.label_rows, original.train.label_rows);
  EXPECT_EQ(read.test.label_rows, original.test.label_rows);
}

TEST_F(DatasetTest, WrittenMetadataReadsBack) {
  const Dataset original = open();
  const TemporaryDirectory copy;
  for (const char* name : {"edges.npy", "feat.npy"}) {
    std::filesystem::copy_file(directory_ / name, copy / name);
  }
  const std::string name = "odd: [name] # \"x\"";
  write_dataset_metadata(copy.path(), {name, 5, 3, original.train, original.validation, {}});
  const Dataset read = open_dataset(copy.path());
  EXPECT_EQ(read.name, name);
  EXPECT_EQ(read.num_nodes, 5u);
  EXPECT_EQ(read.num_classes, 3u);
  EXPECT_EQ(read.train.nodes, original.train.nodes);
  EXPECT_EQ(read.validation.labels, original.validation.labels);
  EXPECT_TRUE(read.test.nodes.empty());
}

/// Real datasets, where the machine has them: $GSPLIT_TEST_DATA, else ../shared/data.
Path data_directory() {
  const char* given = std::getenv("GSPLIT_TEST_DATA");
  return given != nullptr ? Path(given) : Path(GSPLIT_SOURCE_DIR).parent_path() / "shared" / "data";
}

struct RealDataset {
  const char* name;
  std::uint64_t nodes, edges, width, classes, train, validation, test;
};

void PrintTo(const RealDataset& dataset, std::ostream* out) { *out << dataset.name; }

class RealDatasetTest : public testing::TestWithParam<RealDataset> {};

TEST_P(RealDatasetTest, OpensAndIsValid) {
  const Path directory = data_directory() / GetParam().name;
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << directory << " is absent";
  const Dataset dataset = open_dataset(directory);
  EXPECT_EQ(dataset.num_nodes, GetParam().nodes);
  EXPECT_EQ(dataset.num_edges, GetParam().edges);
  EXPECT_EQ(dataset.feature_width(), GetParam().width);
  EXPECT_EQ(dataset.num_classes, GetParam().classes);
  EXPECT_EQ(dataset.train.nodes.size(), GetParam().train);
  EXPECT_EQ(dataset.validation.nodes.size(), GetParam().validation);
  EXPECT_EQ(dataset.test.nodes.size(), GetParam().test);
  EXPECT_NO_THROW(validate_arrays(dataset, 2));
}

INSTANTIATE_TEST_SUITE_P(Real, RealDatasetTest,
                         testing::Values(RealDataset{"cora", 2708, 10556, 1433, 7, 140, 500, 1000},
                                         RealDataset{"amazon_photo", 7650, 238162, 745, 8, 4590,
                                                     1530, 1530}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace gsplit
