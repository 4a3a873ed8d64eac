// For every invariant, a directory with exactly this one broken is refused by name.
#include "graph/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "graph/features.h"
#include "partition/prepare.h"
#include "tests/partition/graphs.h"

namespace gsplit {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Path = std::filesystem::path;

constexpr std::uint64_t kNodes = 120;

/// Changes the elements of a file in place; the file keeps its type and shape.
template <class T>
std::function<void(const Path&)> edit(std::function<void(std::vector<T>&)> change) {
  return [change](const Path& file) {
    std::vector<std::uint64_t> shape;
    std::vector<T> values;
    {
      const NpyArray array = NpyArray::open(file);
      shape = array.shape();
      values.assign(array.as<T>().begin(), array.as<T>().end());
    }
    change(values);
    if (shape.size() == 1) shape[0] = values.size();
    write_npy<T>(file, values, shape);
  };
}

std::function<void(const Path&)> replace(const std::string& from, const std::string& to) {
  return [=](const Path& file) {
    std::string text = read_file(file);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write_file(file, text.replace(at, from.size(), to));
  };
}

struct Mutation {
  std::string file;                        ///< inside the directory
  std::function<void(const Path&)> apply;  ///< breaks it
  std::string fault;                       ///< part of the finding
};

class VerifyPartition : public testing::Test {
 protected:
  VerifyPartition() {
    const auto edges = test::community_edges(kNodes, 4, 6, 0.5, 1);
    test::write_dataset(work_ / "data", kNodes, edges);
    test::write_edge_weights(work_ / "data", edges.size());
  }
  Path write() {
    const Path out = work_ / ("parts-" + std::to_string(made_++));
    write_partition(open_dataset(work_ / "data"),
                    {.parts = 3,
                     .method = PartitionMethod::kRandom,
                     .fanout = {4, 3},
                     .batch_size = 20,
                     .threads = 1},
                    out, {});
    return out;
  }
  static Findings verify(const Path& directory, int threads = 2) {
    try {
      return verify_partition(Partition::open(directory), threads);
    } catch (const UsageError& error) {
      return {error.what()};
    }
  }
  /// After the mutation there is a finding that names the file and the fault.
  void expect_found(const Mutation& mutation) {
    SCOPED_TRACE(mutation.file + ": " + mutation.fault);
    const Path directory = write();
    mutation.apply(directory / mutation.file);
    for (const int threads : {1, 3}) {
      const Findings findings = verify(directory, threads);
      ASSERT_FALSE(findings.empty());
      EXPECT_THAT(findings.front(), AllOf(HasSubstr((directory / mutation.file).string()),
                                          HasSubstr(mutation.fault)));
    }
  }

  test::ScopedCache cache_;
  TemporaryDirectory work_;
  int made_ = 0;
};

/// A row of indices.npy with two neighbours of different ids, by the row bounds beside it.
void swap_in_a_row(const Path& file) {
  const NpyArray bounds = NpyArray::open(file.parent_path() / "indptr.npy");
  const auto indptr = bounds.as<std::int64_t>();
  edit<std::uint32_t>([&](std::vector<std::uint32_t>& ids) {
    for (std::size_t row = 0; row + 1 < indptr.size(); ++row) {
      const auto first = static_cast<std::size_t>(indptr[row]);
      if (indptr[row + 1] - indptr[row] < 2 || ids[first] == ids[first + 1]) continue;
      return std::swap(ids[first], ids[first + 1]);
    }
    ADD_FAILURE() << "no such row";
  })(file);
}

TEST_F(VerifyPartition, AWholeOneHasNoFindings) { EXPECT_THAT(verify(write()), IsEmpty()); }

TEST_F(VerifyPartition, EveryBrokenInvariantIsNamed) {
  using I64 = std::vector<std::int64_t>;
  using U64 = std::vector<std::uint64_t>;
  using U32 = std::vector<std::uint32_t>;
  using I32 = std::vector<std::int32_t>;
  using F32 = std::vector<float>;
  const Mutation table[] = {
      {"partition.json", replace("\"format_version\": 2", "\"format_version\": 9"), "version 9"},
      {"partition.json", replace("\"num_parts\": 3", "\"num_parts\": 2"), "bounds"},
      {"partition.json", replace("\"dataset_fingerprint\": \"", "\"dataset_fingerprint\": \"x"),
       "no fingerprint"},
      {"partition.json", replace("\"num_edges\": ", "\"num_edges\": 1"), "edges, its parts hold"},
      {"partition.json", replace("\"num_validation\": ", "\"num_validation\": 1"),
       "validation nodes, its parts hold"},
      {"partition.json", replace("\"num_test\": ", "\"num_test\": 1"), "test nodes, its parts"},
      {"part-0/indptr.npy", edit<std::int64_t>([](I64& v) { v[0] = 1; }), "bound the rows"},
      {"part-0/indptr.npy", edit<std::int64_t>([](I64& v) { v[3] = v[4] + 1; }), "bound the rows"},
      {"part-1/indptr.npy", edit<std::int64_t>([](I64& v) { v.back() += 1; }), "bound the rows"},
      {"part-1/indptr.npy", edit<std::int64_t>([](I64& v) { v.pop_back(); }), "has shape"},
      {"part-2/indices.npy", edit<std::uint32_t>([](U32& v) { v[2] = kNodes; }), "holds node 120"},
      {"part-2/indices.npy", swap_in_a_row, "does not ascend by original id in row"},
      {"part-1/edge_weights.npy", edit<float>([](F32& v) { v[5] = -1; }), "weight -1 at edge 5"},
      {"part-1/edge_weights.npy", edit<float>([](F32& v) { v[6] = NAN; }), "at edge 6"},
      {"part-1/edge_weights.npy", edit<float>([](F32& v) { v[7] = INFINITY; }), "inf at edge 7"},
      {"part-1/edge_weights.npy", edit<float>([](F32& v) { v.pop_back(); }), "has shape"},
      {"part-0/original_ids.npy", edit<std::uint64_t>([](U64& v) { std::swap(v[0], v[1]); }),
       "ascending ids"},
      {"part-0/original_ids.npy", edit<std::uint64_t>([](U64& v) { v.back() = kNodes; }),
       "ascending ids below 120"},
      {"part-0/original_ids.npy", edit<std::uint64_t>([](U64& v) { v[1] = v[0]; }),
       "does not hold ascending ids"},
      {"part-0/labels.npy", edit<std::int32_t>([](I32& v) { v[3] = 5; }), "not from -1 to 4"},
      {"part-0/labels.npy", edit<std::int32_t>([](I32& v) { v[4] = -2; }), "not from -1 to 4"},
      {"part-0/features.npy", edit<float>([](F32& v) { v[3 * 7] = NAN, v[3 * 9] = INFINITY; }),
       "2 values that are NaN or infinite, the first in row 7"},
      {"part-2/test_nodes.npy", edit<std::uint32_t>([](U32& v) { std::swap(v[0], v[1]); }),
       "ascending local ids"},
      {"part-2/train_nodes.npy", edit<std::uint32_t>([](U32& v) { v.back() = 500; }),
       "ascending local ids"},
      {"train_seeds.npy", edit<std::uint64_t>([](U64& v) { v.pop_back(); }), "has shape"},
      {"train_seeds.npy", edit<std::uint64_t>([](U64& v) { v[0] = kNodes; }), "holds node 120"},
      {"train_seeds.npy", edit<std::uint64_t>([](U64& v) { std::swap(v[0], v[1]); }),
       "ascend by original id at position 1"},
      {"train_seeds.npy", edit<std::uint64_t>([](U64& v) { v[1] = v[0]; }),
       "ascend by original id at position 1"},
  };
  for (const Mutation& mutation : table) expect_found(mutation);
}

TEST_F(VerifyPartition, NodesOfSplitsAreDisjointAndLabelled) {
  const auto part = [](const Path& file) { return file.parent_path(); };
  const auto first_of = [](const Path& file) {
    return NpyArray::open(file).as<std::uint32_t>().front();
  };
  expect_found({"part-1/test_nodes.npy",
                [&](const Path& file) {
                  edit<std::uint32_t>([&](std::vector<std::uint32_t>& v) {
                    v.push_back(first_of(part(file) / "train_nodes.npy"));
                    std::sort(v.begin(), v.end());
                  })(file);
                },
                "which stands in another split"});
  expect_found({"part-1/validation_nodes.npy",
                [&](const Path& file) {
                  const std::uint32_t node = first_of(file);
                  edit<std::int32_t>([&](std::vector<std::int32_t>& v) { v[node] = -1; })(
                      part(file) / "labels.npy");
                },
                "which has no label"});
}

TEST_F(VerifyPartition, SeedsThatAreNoTrainingNodesAndOtherTypesAreNamed) {
  expect_found({"train_seeds.npy",
                [](const Path& file) {
                  const Partition partition = Partition::open(file.parent_path());
                  const std::uint64_t other =
                      value(Shard::open(partition, 0).validation_nodes().front());
                  edit<std::uint64_t>([&](std::vector<std::uint64_t>& v) { v[0] = other; })(file);
                },
                "which is no training node"});
  expect_found({"part-1/features.npy",
                [](const Path& file) {
                  const std::uint64_t rows = NpyArray::open(file).shape()[0];
                  write_npy<BFloat16>(file, std::vector<BFloat16>(rows * 3), {rows, 3});
                },
                "holds bf16, other parts fp32"});
}

TEST_F(VerifyPartition, ANodeOfAnotherPartIsNamed) {
  expect_found({"part-1/original_ids.npy",
                [](const Path& file) {
                  const NpyArray other =
                      NpyArray::open(file.parent_path().parent_path() / "part-0/original_ids.npy");
                  const std::uint64_t taken = other.as<std::uint64_t>()[4];
                  edit<std::uint64_t>([&](std::vector<std::uint64_t>& v) {
                    v[0] = taken;
                    std::sort(v.begin(), v.end());
                  })(file);
                },
                "which stands before"});
}

TEST_F(VerifyPartition, EveryMissingOrShortenedFileIsNamed) {
  const Path whole = write();
  std::vector<Path> files{"partition.json", "train_seeds.npy"};
  for (const auto& entry : std::filesystem::directory_iterator(whole / "part-1")) {
    files.push_back("part-1" / entry.path().filename());
  }
  EXPECT_EQ(files.size(), 11u);
  for (const Path& file : files) {
    expect_found({file, [](const Path& path) { std::filesystem::remove(path); }, ""});
    expect_found({file,
                  [](const Path& path) {
                    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
                  },
                  ""});
  }
}

TEST_F(VerifyPartition, ADatasetIsVerifiedToo) {
  const Path data = work_ / "data";
  const auto findings = [&] { return verify_dataset(open_dataset(data), 2); };
  EXPECT_THAT(findings(), IsEmpty());
  edit<float>([](std::vector<float>& v) { v[3] = v[4] = v[50] = NAN; })(data / "feat.npy");
  edit<std::int64_t>([](std::vector<std::int64_t>& v) { v[9] = -4; })(data / "edges.npy");
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("source -4 at edge 9"),
                                      HasSubstr("3 values that are NaN or infinite, the first in "
                                                "row 1")));
  test::write_dataset(data, kNodes, test::community_edges(kNodes, 4, 6, 0.5, 1));
  const std::int64_t train = NpyArray::open(data / "train_seeds.npy").as<std::int64_t>()[0];
  const std::int64_t label = NpyArray::open(data / "train_labels.npy").as<std::int64_t>()[0];
  edit<std::int64_t>([&](std::vector<std::int64_t>& v) { v[0] = train; })(data / "test_seeds.npy");
  edit<std::int64_t>([&](std::vector<std::int64_t>& v) { v[0] = label; })(data / "test_labels.npy");
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("in test_set, which stands in another split")));
}

}  // namespace
}  // namespace gsplit
