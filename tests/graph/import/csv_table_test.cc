// Tables of OGB's csv files: what is read, and what is refused with which line.
#include "graph/import/csv_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/graph/import/compressed.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class CsvTableTest : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& content) {
    return write_text(directory_ / "table.csv.gz", content);
  }
  std::vector<float> features(const std::string& content, std::uint64_t nodes, int threads = 2) {
    convert_csv_features(file(content), nodes, {.npy = directory_ / "feat.npy", .threads = threads},
                         {});
    const NpyArray array = NpyArray::open(directory_ / "feat.npy");
    EXPECT_EQ(array.shape()[0], nodes);
    return {array.as<float>().begin(), array.as<float>().end()};
  }
  std::string feature_refusal(const std::string& content, std::uint64_t nodes) {
    return usage_error_of([&] { features(content, nodes); });
  }
  std::string label_refusal(const std::string& content, std::uint64_t nodes) {
    return usage_error_of([&] { read_csv_labels(file(content), nodes); });
  }

  TemporaryDirectory directory_;
};

TEST_F(CsvTableTest, ReadsFeatures) {
  EXPECT_THAT(features("0,1.5,-2e3\n1,0.1,3\n", 2), ElementsAre(0, 1.5f, -2e3f, 1, 0.1f, 3));
  EXPECT_THAT(features(gzip("7 , 8\r\n9,10"), 2), ElementsAre(7, 8, 9, 10));
}

TEST_F(CsvTableTest, ManyRowsAcrossBlocks) {
  std::string text;
  for (int r = 0; r < 100000; ++r)
    text += std::to_string(r) + "," + std::to_string(r / 8.0) + ",1,0\n";
  for (const int threads : {1, 3}) {
    const std::vector<float> values = features(gzip(text), 100000, threads);
    for (std::size_t r = 0; r < 100000; ++r) {
      ASSERT_EQ(values[4 * r], static_cast<float>(r));
      ASSERT_EQ(values[4 * r + 1], static_cast<float>(static_cast<double>(r) / 8.0));
    }
  }
}

TEST_F(CsvTableTest, RefusesFeaturesThatAreNone) {
  EXPECT_THAT(feature_refusal("1,2\n3,x\n", 2), AllOf(HasSubstr("line 2"), HasSubstr("'x'")));
  EXPECT_THAT(feature_refusal("1,2\n3\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(feature_refusal("1,2\n3,4,5\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(feature_refusal("1,2\n3,nan\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(feature_refusal("1,2\n3,\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(feature_refusal("1,1e300\n", 1), HasSubstr("line 1"));
  EXPECT_THAT(feature_refusal("1,2\n", 2), HasSubstr("only 1 rows"));
  EXPECT_THAT(feature_refusal("1,2\n1,2\n1,2\n", 2), HasSubstr("more than 2"));
  EXPECT_THAT(feature_refusal("", 2), HasSubstr("only 0 rows"));
  const std::string packed = gzip("1,2\n3,4\n");
  EXPECT_THAT(feature_refusal(packed.substr(0, packed.size() - 3), 2), HasSubstr("truncated"));
}

TEST_F(CsvTableTest, AWideFirstRowTakesNoMemoryForThoseThatLack) {
  // A million columns, then a million rows of one: 4 TB if the first row were believed.
  const std::string text = std::string((1 << 20) - 1, ',') + "\n" + [] {
    std::string rows;
    for (int i = 0; i < 1000000; ++i) rows += "1\n";
    return rows;
  }();
  EXPECT_THAT(feature_refusal(gzip(text), 1000001), HasSubstr("line 1"));
  EXPECT_THAT(feature_refusal(gzip("0" + std::string(1 << 21, ',') + "\n"), 1),
              HasSubstr("too many columns"));
}

TEST_F(CsvTableTest, ReadsClassesAndMissingOnes) {
  const NodeLabels labels = read_csv_labels(file("3\n0.0\nnan\n\n2\n"), 5);
  EXPECT_THAT(labels.classes, ElementsAre(3, 0, -1, -1, 2));
  EXPECT_EQ(labels.num_classes(), 4u);
  EXPECT_FALSE(labels.is_labeled(2));
}

TEST_F(CsvTableTest, SeveralColumnsAreSeveralLabels) {
  const NodeLabels labels = read_csv_labels(file("1,0,1\n0,,1\n0,0,0\n"), 3);
  EXPECT_EQ(labels.columns, 3u);
  EXPECT_EQ(labels.num_classes(), 3u);
  EXPECT_THAT(labels.rows, ElementsAre(1, 0, 1, 0, 2, 1, 0, 0, 0));
  EXPECT_TRUE(labels.is_labeled(0));
  EXPECT_FALSE(labels.is_labeled(1));
}

TEST_F(CsvTableTest, RefusesLabelsThatAreNone) {
  EXPECT_THAT(label_refusal("1\n-1\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(label_refusal("1\n1.5\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(label_refusal("1\n1e9\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(label_refusal("1\nb\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(label_refusal("1,0\n2,0\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(label_refusal("1,0\n1\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(label_refusal("1,0\n1,0,0\n", 2), HasSubstr("line 2"));
  EXPECT_THAT(label_refusal("1\n", 2), HasSubstr("only 1 rows"));
  EXPECT_THAT(label_refusal("1\n1\n1\n", 2), HasSubstr("more than 2"));
  // A count of nodes that a file claims takes no memory of its own.
  EXPECT_THAT(label_refusal("1\n", std::uint64_t{1} << 60), HasSubstr("only 1 rows"));
}

TEST_F(CsvTableTest, ReadsCountsAndNodes) {
  EXPECT_EQ(read_csv_count(file(gzip("3327\n"))), 3327u);
  EXPECT_THAT(read_csv_nodes(file("4\n0\n2\n"), 5), ElementsAre(4, 0, 2));
  for (const char* bad : {"", "x\n", "-1\n", "1.5\n", "1\n2\n", "99999999999999999999\n"}) {
    EXPECT_NE(usage_error_of([&] { read_csv_count(file(bad)); }), "accepted") << bad;
  }
  for (const char* bad : {"5\n", "1\n1\n", "-1\n", "\n", "1,2\n"}) {
    EXPECT_THAT(usage_error_of([&] { read_csv_nodes(file(bad), 5); }), HasSubstr("line")) << bad;
  }
}

}  // namespace
}  // namespace gsplit
