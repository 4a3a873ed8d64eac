// Thousands of damaged inputs: each is read or refused with a UsageError, whatever stands in it.
#include <gtest/gtest.h>
#include <zip.h>

#include <functional>

#include "graph/import/array_nodes.h"
#include "graph/import/csv_table.h"
#include "graph/import/npz_archive.h"
#include "graph/import/text_edges.h"
#include "kernels/base/philox.h"
#include "tests/graph/import/compressed.h"

namespace gsplit {
namespace {

/// One of: some bytes replaced, a piece cut out, a piece said twice, the end cut off.
std::string mutated(std::string bytes, std::uint64_t number) {
  const PhiloxBlock random = draw({.seed = 1}, number, 0);
  const auto size = static_cast<std::uint32_t>(bytes.size());
  const std::uint32_t at = bounded(random.word[1], size);
  const std::uint32_t length = 1 + bounded(random.word[2], std::min(16u, size - at));
  switch (random.word[0] % 4) {
    case 0:
      for (std::uint32_t i = at; i < std::min(size, at + length); ++i) {
        bytes[i] = static_cast<char>(draw({.seed = 2}, number, i).word[0]);
      }
      break;
    case 1:
      bytes.erase(at, length);
      break;
    case 2:
      bytes.insert(at, bytes.substr(at, length));
      break;
    default:
      bytes.resize(at);
  }
  return bytes;
}

class MutationTest : public testing::Test {
 protected:
  /// Reads `good`, which must be accepted, then mutations of it; returns how many were refused.
  int refused(const std::string& good, int mutations,
              const std::function<void(const std::filesystem::path&)>& read) {
    const std::filesystem::path path = directory_ / "input";
    read(write_text(path, good));
    int refused = 0;
    for (int m = 0; m < mutations; ++m) {
      write_file(path, mutated(good, static_cast<std::uint64_t>(m)));
      try {
        read(path);
      } catch (const UsageError&) {
        ++refused;
      }
    }
    return refused;
  }

  TemporaryDirectory directory_;
};

std::string edge_text() {
  std::string text = "# comment\n";
  for (int e = 0; e < 40; ++e) text += std::to_string(e) + "\t" + std::to_string(e * e) + " 0.5\n";
  return text;
}

void read_edges(const std::filesystem::path& path) {
  TextEdgeReader reader(path, {});
  EdgeBatch batch;
  while (reader.next(batch)) {
    EXPECT_EQ(batch.sources.size(), batch.destinations.size());
    EXPECT_TRUE(batch.weights.empty() || batch.weights.size() == batch.sources.size());
  }
}

TEST_F(MutationTest, EdgeLists) {
  for (const std::string& good : {edge_text(), gzip(edge_text()), zstd(edge_text())}) {
    EXPECT_GT(refused(good, 800, read_edges), 50);
  }
}

TEST_F(MutationTest, Tables) {
  std::string text;
  for (int r = 0; r < 30; ++r) text += std::to_string(r * 0.37) + ",1,-2.5e1\n";
  EXPECT_GT(refused(text, 600,
                    [&](const auto& path) {
                      convert_csv_features(path, 30, {.npy = directory_ / "feat.npy", .threads = 2},
                                           {});
                    }),
            50);
  std::string labels;
  for (int r = 0; r < 30; ++r) labels += "1,0,1\n";
  EXPECT_GT(refused(labels, 600, [](const auto& path) { read_csv_labels(path, 30); }), 50);
}

TEST_F(MutationTest, Archives) {
  const std::vector<float> values(64, 0.5f);
  const std::string member =
      npy_header(npy_type_of<float>::value, {16, 4}) +
      std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  const std::filesystem::path path = directory_ / "good.npz";
  int code = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE, &code);
  ASSERT_NE(zip, nullptr);
  zip_file_add(zip, "x.npy", zip_source_buffer(zip, member.data(), member.size(), 0), 0);
  ASSERT_EQ(zip_close(zip), 0);
  EXPECT_GT(refused(read_file(path), 1500,
                    [&](const auto& input) {
                      const NpzArchive archive(input);
                      const NpyArray x = archive.extract("x", directory_ / "x.npy");
                      convert_features(x, 16, directory_ / "feat.npy", {});
                    }),
            500);
}

}  // namespace
}  // namespace gsplit
