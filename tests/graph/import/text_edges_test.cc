// Edge lists as text: what is read, and what is refused with which line.
#include "graph/import/text_edges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "tests/graph/import/compressed.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

EdgeBatch read_all(const std::filesystem::path& path, const TextEdgeRules& rules = {}) {
  TextEdgeReader reader(path, rules);
  EdgeBatch all;
  for (EdgeBatch batch; reader.next(batch);) {
    all.sources.insert(all.sources.end(), batch.sources.begin(), batch.sources.end());
    all.destinations.insert(all.destinations.end(), batch.destinations.begin(),
                            batch.destinations.end());
    all.weights.insert(all.weights.end(), batch.weights.begin(), batch.weights.end());
  }
  return all;
}

/// Some megabytes: several chunks of the reading thread.
std::string long_list(std::uint64_t edges) {
  std::string text = "# FromNodeId\tToNodeId\n";
  for (std::uint64_t e = 0; e < edges; ++e) {
    text += std::to_string(e) + "\t" + std::to_string(e * 7919 % 1000003) + "\n";
  }
  return text;
}

class TextEdgesTest : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& content) {
    return write_text(directory_ / "edges.txt", content);
  }
  std::string refusal(const std::string& content, const TextEdgeRules& rules = {}) {
    return usage_error_of([&] { read_all(file(content), rules); });
  }

  TemporaryDirectory directory_;
};

TEST_F(TextEdgesTest, ReadsBlanksCommentsAndLineEndsOfAllKinds) {
  const EdgeBatch edges =
      read_all(file("# a comment\n% another\n\n0 1\n  2\t 3 \r\n4,5\n6 , 7\n18446 0"));
  EXPECT_THAT(edges.sources, ElementsAre(0, 2, 4, 6, 18446));
  EXPECT_THAT(edges.destinations, ElementsAre(1, 3, 5, 7, 0));
  EXPECT_TRUE(edges.weights.empty());
}

TEST_F(TextEdgesTest, AThirdColumnIsAWeight) {
  const EdgeBatch edges = read_all(file("0 1 0.5\n1 2 3\n2 0 1e-3\n"));
  EXPECT_THAT(edges.weights, ElementsAre(0.5f, 3.0f, 1e-3f));
}

TEST_F(TextEdgesTest, AnEmptyFileHasNoEdges) {
  EXPECT_EQ(read_all(file("")).size(), 0u);
  EXPECT_EQ(read_all(file("# nothing")).size(), 0u);
}

TEST_F(TextEdgesTest, CompressionChangesNothing) {
  const std::string text = long_list(300000);
  const EdgeBatch plain = read_all(file(text));
  ASSERT_EQ(plain.size(), 300000u);
  EXPECT_EQ(plain.destinations[299999], 299999ull * 7919 % 1000003);
  const std::string half = text.substr(0, text.size() / 2);
  const std::string rest = text.substr(text.size() / 2);
  for (const std::string& packed :
       {gzip(text), gzip(half) + gzip(rest), zstd(text), zstd(half) + zstd(rest)}) {
    const EdgeBatch unpacked = read_all(file(packed));
    EXPECT_EQ(unpacked.sources, plain.sources);
    EXPECT_EQ(unpacked.destinations, plain.destinations);
  }
}

TEST_F(TextEdgesTest, RefusesWhatIsNoEdgeAndNamesTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"0 1\n2\n", "line 2"},
      {"0 1\n2 x\n", "line 2"},
      {"0 1\n\n-1 2\n", "line 3"},
      {"0 1\n1.5 2\n", "line 2"},
      {"0 1 2 3\n", "three columns"},
      {"0 1 1\n2 3\n", "no weight"},
      {"0 1\n2 3 1\n", "more than two"},
      {"0 1 nan\n", "weight"},
      {"0 1 -2\n", "weight"},
      {"0 1 1e60\n", "weight"},
      {"0,,1\n", "node id"},
      {"0 1,\n", "weight"},
      {"99999999999999999999999 1\n", "node id"},
      {"9223372036854775808 1\n", "node id"},
      {"18446744073709551617 1\n", "node id"},
      {"\x01\x02\x03\n", "node id at '?"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_THAT(refusal(text), AllOf(HasSubstr(expected), HasSubstr("edges.txt"))) << text;
  }
  const std::string binary("0 1\n\0\0\0\0", 8);
  EXPECT_THAT(refusal(binary), HasSubstr("line 2"));
}

TEST_F(TextEdgesTest, RefusesIdsAtTheLimitAndWeightsWhereThereAreNone) {
  EXPECT_EQ(refusal("0 4\n", {.id_limit = 5}), "accepted");
  EXPECT_THAT(refusal("0 4\n0 5\n", {.id_limit = 5}), AllOf(HasSubstr("line 2"), HasSubstr("5")));
  EXPECT_THAT(refusal("0 4 1\n", {.weights = false}), HasSubstr("more than two"));
  EXPECT_THAT(refusal("# 1\n", {.comments = false}), HasSubstr("line 1"));
}

TEST_F(TextEdgesTest, NamesALineFarInsideTheFile) {
  EXPECT_THAT(refusal(gzip(long_list(300000) + "7 seven\n")), HasSubstr("line 300002"));
}

TEST_F(TextEdgesTest, RefusesTruncatedAndDamagedCompression) {
  const std::string text = long_list(100000);
  for (const std::string& packed : {gzip(text), zstd(text)}) {
    for (const std::size_t size :
         {packed.size() - 1, packed.size() - 5, packed.size() / 2, std::size_t{20}}) {
      EXPECT_THAT(refusal(packed.substr(0, size)), HasSubstr("is truncated")) << size;
    }
    std::string damaged = packed;
    for (std::size_t i = packed.size() / 2; i < packed.size() / 2 + 64; ++i) damaged[i] ^= 0x55;
    EXPECT_NE(refusal(damaged), "accepted");
  }
  std::string wrong_checksum = gzip(text);
  wrong_checksum[wrong_checksum.size() - 6] ^= 1;
  EXPECT_THAT(refusal(wrong_checksum), HasSubstr("damaged gzip stream"));
  EXPECT_THAT(refusal(gzip(text) + "garbage"), HasSubstr("damaged gzip stream"));
}

TEST_F(TextEdgesTest, RefusesALineWithoutEndInBoundedMemory) {
  // 64 MiB of one digit pack into 64 KiB.
  EXPECT_THAT(refusal(gzip(std::string(std::size_t{1} << 26, '1'))), HasSubstr("16 MiB"));
}

TEST_F(TextEdgesTest, RefusesWhatIsNoFile) {
  EXPECT_THAT(usage_error_of([&] { read_all(directory_ / "absent"); }), HasSubstr("absent"));
  EXPECT_THAT(usage_error_of([&] { read_all(directory_ / "."); }), HasSubstr("not a file"));
}

TEST_F(TextEdgesTest, AReaderMayBeLeftBeforeTheEnd) {
  TextEdgeReader reader(file(long_list(500000)), {});
  EdgeBatch batch;
  EXPECT_TRUE(reader.next(batch));
  EXPECT_GT(reader.progress(), 0.0);
  EXPECT_LE(reader.progress(), 1.0);
}

}  // namespace
}  // namespace gsplit
