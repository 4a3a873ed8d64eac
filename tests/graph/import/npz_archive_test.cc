// Zip archives of arrays: what is read, and what is refused.
#include "graph/import/npz_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zip.h>

#include <cstring>
#include <map>

#include "graph/import/array_edges.h"
#include "graph/import/array_nodes.h"
#include "tests/graph/import/compressed.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <class T>
std::string npy_bytes(const std::vector<T>& values, const std::vector<std::uint64_t>& shape) {
  return npy_header(npy_type_of<T>::value, shape) +
         std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

class NpzArchiveTest : public testing::Test {
 protected:
  std::filesystem::path write(const std::map<std::string, std::string>& members,
                              int method = ZIP_CM_DEFLATE) {
    const std::filesystem::path path = directory_ / "a.npz";
    int code = 0;
    zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
    GSPLIT_CHECK(zip != nullptr);
    for (const auto& [name, content] : members) {
      zip_source_t* source = zip_source_buffer(zip, content.data(), content.size(), 0);
      const auto index = zip_file_add(zip, (name + ".npy").c_str(), source, ZIP_FL_OVERWRITE);
      zip_set_file_compression(zip, static_cast<zip_uint64_t>(index), method, 6);
    }
    GSPLIT_CHECK(zip_close(zip) == 0);
    return path;
  }
  std::string refusal(const std::filesystem::path& path, const std::string& name = "x") {
    return usage_error_of([&] { NpzArchive(path).extract(name, directory_ / "out.npy"); });
  }

  TemporaryDirectory directory_;
  std::vector<float> values_ = std::vector<float>(100000, 1.25f);
};

TEST_F(NpzArchiveTest, ReadsStoredAndDeflatedMembers) {
  for (const int method : {ZIP_CM_STORE, ZIP_CM_DEFLATE}) {
    const NpzArchive archive(write({{"x", npy_bytes(values_, {values_.size()})},
                                    {"n", npy_bytes(std::vector<std::int64_t>{7}, {1})}},
                                   method));
    EXPECT_TRUE(archive.has("x"));
    EXPECT_FALSE(archive.has("y"));
    EXPECT_EQ(archive.first_of({"y", "n", "x"}), "n");
    const NpyArray x = archive.extract("x", directory_ / "out.npy");
    EXPECT_EQ(x.num_elements(), values_.size());
    EXPECT_EQ(x.as<float>()[99999], 1.25f);
    EXPECT_THAT(x.path().string(), HasSubstr("a.npz/x.npy"));
  }
}

TEST_F(NpzArchiveTest, RefusesMissingTruncatedAndDamagedFiles) {
  EXPECT_THAT(refusal(directory_ / "absent.npz"), HasSubstr("absent.npz"));
  const std::filesystem::path path =
      write({{"x", npy_bytes(values_, {values_.size()})}}, ZIP_CM_STORE);
  EXPECT_THAT(refusal(path, "y"), HasSubstr("member y.npy is missing"));
  const std::string good = read_file(path);
  write_file(path, good.substr(0, good.size() - 10));
  EXPECT_THAT(refusal(path), HasSubstr("cannot open"));
  write_file(path, good.substr(good.size() / 2));
  EXPECT_NE(refusal(path), "accepted");
  write_file(path, "no zip at all");
  EXPECT_THAT(refusal(path), HasSubstr("cannot open"));
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  write_file(path, flipped);
  EXPECT_THAT(refusal(path), HasSubstr("damaged"));  // the checksum
}

TEST_F(NpzArchiveTest, RefusesASizeThatTheStoredBytesCannotHold) {
  const std::filesystem::path path = write({{"x", npy_bytes(values_, {values_.size()})}});
  std::string bytes = read_file(path);
  const std::size_t entry = bytes.find("PK\x01\x02");  // of the central directory
  ASSERT_NE(entry, std::string::npos);
  const std::uint32_t huge = 0xFFFFFFF0u;
  std::memcpy(&bytes[entry + 24], &huge, 4);  // uncompressed size
  write_file(path, bytes);
  EXPECT_THAT(refusal(path), HasSubstr("more than"));
  const std::uint32_t little = 1000;
  std::memcpy(&bytes[entry + 24], &little, 4);
  write_file(path, bytes);
  EXPECT_NE(refusal(path), "accepted");
  const std::uint32_t more = 500000;
  std::memcpy(&bytes[entry + 24], &more, 4);
  write_file(path, bytes);
  EXPECT_NE(refusal(path), "accepted");
}

TEST_F(NpzArchiveTest, RefusesMembersThatAreNoArrays) {
  EXPECT_THAT(refusal(write({{"x", "text"}})), HasSubstr("a.npz/x.npy is not an npy file"));
  std::string bytes = npy_bytes(values_, {values_.size()});
  bytes.resize(bytes.size() - 4);
  EXPECT_THAT(refusal(write({{"x", bytes}})), HasSubstr("truncated"));
}

class ArraysTest : public NpzArchiveTest {
 protected:
  template <class T>
  NpyArray array(const std::vector<T>& values, const std::vector<std::uint64_t>& shape) {
    const std::filesystem::path path = directory_ / (std::to_string(count_++) + ".npy");
    write_file(path, npy_bytes(values, shape));
    return NpyArray::open(path);
  }
  int count_ = 0;
};

TEST_F(ArraysTest, CsrRowsAreSources) {
  CsrEdgeReader reader(array<std::int32_t>({0, 2, 2, 3}, {4}), array<std::int32_t>({1, 2, 0}, {3}),
                       std::nullopt);
  EdgeBatch batch;
  ASSERT_TRUE(reader.next(batch));
  EXPECT_THAT(batch.sources, ElementsAre(0, 0, 2));
  EXPECT_THAT(batch.destinations, ElementsAre(1, 2, 0));
  EXPECT_FALSE(reader.next(batch));
}

TEST_F(ArraysTest, RefusesBoundsAndIdsThatDoNotFit) {
  const auto refusal_of = [&](const std::vector<std::int64_t>& indptr,
                              const std::vector<std::int64_t>& indices) {
    return usage_error_of([&] {
      CsrEdgeReader reader(array(indptr, {indptr.size()}), array(indices, {indices.size()}),
                           std::nullopt);
      EdgeBatch batch;
      while (reader.next(batch)) {
      }
    });
  };
  EXPECT_EQ(refusal_of({0, 1, 2}, {0, 1}), "accepted");
  EXPECT_THAT(refusal_of({0, 2, 1}, {0, 1}), HasSubstr("does not bound"));
  EXPECT_THAT(refusal_of({1, 1, 2}, {0, 1}), HasSubstr("does not bound"));
  EXPECT_THAT(refusal_of({0, 1, 3}, {0, 1}), HasSubstr("position 2"));
  EXPECT_THAT(refusal_of({0, -1, 2}, {0, 1}), HasSubstr("position 1"));
  EXPECT_THAT(refusal_of({0, 1, 2}, {0, 2}), HasSubstr("position 1"));
  EXPECT_THAT(refusal_of({0}, {}), HasSubstr("row bounds"));
}

TEST_F(ArraysTest, EdgeArraysAreChecked) {
  const auto refusal_of = [&](NpyArray edges, std::optional<NpyArray> weights) {
    return usage_error_of([&] {
      ArrayEdgeReader reader(std::move(edges), std::move(weights), 3);
      EdgeBatch batch;
      while (reader.next(batch)) {
      }
    });
  };
  const auto edges = [&] { return array<std::int32_t>({0, 1, 2, 1}, {2, 2}); };
  EXPECT_EQ(refusal_of(edges(), std::nullopt), "accepted");
  EXPECT_EQ(refusal_of(edges(), array<float>({1, 2}, {2, 1})), "accepted");
  EXPECT_THAT(refusal_of(array<std::int32_t>({0, 1, 2, 1}, {4}), std::nullopt),
              HasSubstr("(2, edges)"));
  EXPECT_THAT(refusal_of(array<std::int32_t>({0, 1, 3, 1}, {2, 2}), std::nullopt),
              HasSubstr("position 2"));
  EXPECT_THAT(refusal_of(array<float>({0, 1, 2, 1}, {2, 2}), std::nullopt), HasSubstr("integer"));
  EXPECT_THAT(refusal_of(edges(), array<float>({1, 2, 3}, {3})), HasSubstr("2 edges"));
  EXPECT_THAT(refusal_of(edges(), array<float>({1, -1}, {2})), HasSubstr("position 1"));
}

TEST_F(ArraysTest, LabelsKeepTheirColumnsAndKnowWhatIsMissing) {
  EXPECT_THAT(labels_of(array<double>({2, std::nan(""), 0}, {3, 1}), 3).classes,
              ElementsAre(2, -1, 0));
  EXPECT_THAT(labels_of(array<std::int64_t>({2, -1, 0}, {3}), 3).classes, ElementsAre(2, -1, 0));
  EXPECT_THAT(labels_of(array<std::uint8_t>({0, 1, 1, 1}, {2, 2}), 2).rows,
              ElementsAre(0, 1, 1, 1));
  EXPECT_NE(usage_error_of([&] { labels_of(array<float>({0.5f}, {1}), 1); }), "accepted");
  EXPECT_NE(usage_error_of([&] { labels_of(array<float>({1, 2}, {2}), 3); }), "accepted");
  EXPECT_NE(usage_error_of([&] { labels_of(array<float>({1, 2}, {1, 2}), 1); }), "accepted");
}

TEST_F(ArraysTest, SplitsMustAgreeOnANodesLabel) {
  NodeLabels labels = NodeLabels::unlabeled(4, 1);
  add_labels(array<std::int64_t>({3, 1}, {2}), {0, 2}, labels);
  add_labels(array<std::int64_t>({1}, {1}), {2}, labels);
  EXPECT_THAT(labels.classes, ElementsAre(3, -1, 1, -1));
  EXPECT_THAT(usage_error_of([&] { add_labels(array<std::int64_t>({2}, {1}), {2}, labels); }),
              HasSubstr("another label"));
}

TEST_F(ArraysTest, FeaturesMustBeFinite) {
  convert_features(array<std::int16_t>({1, 2, 3, 4}, {2, 2}), 2, directory_ / "feat.npy", {});
  EXPECT_EQ(NpyArray::open(directory_ / "feat.npy").as<float>()[3], 4.0f);
  const auto refusal_of = [&](const NpyArray& features) {
    return usage_error_of([&] { convert_features(features, 2, directory_ / "feat.npy", {}); });
  };
  EXPECT_THAT(refusal_of(array<float>({1, 2, 3, INFINITY}, {2, 2})), HasSubstr("node 1, column 1"));
  EXPECT_THAT(refusal_of(array<double>({1, 2, NAN, 1}, {2, 2})), HasSubstr("node 1, column 0"));
  EXPECT_THAT(refusal_of(array<float>({1, 2, 3}, {3, 1})), HasSubstr("shape"));
  EXPECT_THAT(refusal_of(array<float>({}, {2, 0})), HasSubstr("shape"));
}

TEST_F(ArraysTest, FeaturesTakeTheTypeAskedForOrKeepTheirs) {
  const auto stored_as = [&](const NpyArray& features, std::optional<DType> dtype) {
    convert_features(features, 1, directory_ / "feat.npy", dtype);
    return NpyArray::open(directory_ / "feat.npy");
  };
  const float third = 1.0f / 3;
  const NpyArray wide = array<float>({third, 65504}, {1, 2});
  const NpyArray half = stored_as(wide, DType::kF16);
  EXPECT_EQ(half.as<Half>()[0].bits, 0x3555);
  EXPECT_EQ(half.as<Half>()[1].bits, 0x7BFF);
  EXPECT_EQ(stored_as(wide, DType::kBF16).as<BFloat16>()[0].bits, 0x3EAB);
  EXPECT_EQ(stored_as(wide, {}).as<float>()[0], third);
  const NpyArray brain = array<BFloat16>({{0x3F80}, {0x7F00}}, {1, 2});
  EXPECT_EQ(stored_as(brain, {}).as<BFloat16>()[1].bits, 0x7F00);
  EXPECT_EQ(stored_as(brain, DType::kF32).as<float>()[1], 0x1p127f);
  EXPECT_EQ(stored_as(array<std::int32_t>({1, 2}, {1, 2}), DType::kF16).as<Half>()[1].bits, 0x4000);
}

TEST_F(ArraysTest, FeaturesTooLargeForTheirTypeAreRefused) {
  const auto refusal_of = [&](const NpyArray& features, DType dtype) {
    return usage_error_of([&] { convert_features(features, 2, directory_ / "feat.npy", dtype); });
  };
  EXPECT_THAT(refusal_of(array<float>({1, 2, -65520, 1}, {2, 2}), DType::kF16),
              AllOf(HasSubstr("holds -65520 at node 1, column 0, which fp16 cannot hold"),
                    HasSubstr("--feature-dtype bf16 or fp32")));
  EXPECT_THAT(refusal_of(array<float>({1, 3.4e38f, 1, 1}, {2, 2}), DType::kBF16),
              AllOf(HasSubstr("node 0, column 1, which bf16"), HasSubstr("--feature-dtype fp32")));
  EXPECT_THAT(refusal_of(array<BFloat16>({{0x7F80}, {0}}, {2, 1}), DType::kF32),
              HasSubstr("not finite at node 0"));
}

TEST_F(ArraysTest, MasksAndListsNameNodes) {
  EXPECT_THAT(nodes_of_mask(array<std::uint8_t>({0, 1, 1}, {3}), 3), ElementsAre(1, 2));
  EXPECT_THAT(nodes_of(array<std::int64_t>({2, 0}, {2}), 3), ElementsAre(2, 0));
  EXPECT_NE(usage_error_of([&] {
              nodes_of_mask(array<std::uint8_t>({0, 1}, {2}), 3);
            }),
            "accepted");
  EXPECT_NE(usage_error_of([&] { nodes_of(array<std::int64_t>({1, 1}, {2}), 3); }), "accepted");
  EXPECT_NE(usage_error_of([&] { nodes_of(array<std::int64_t>({3}, {1}), 3); }), "accepted");
}

}  // namespace
}  // namespace gsplit
