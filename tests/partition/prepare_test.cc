// From a dataset on disk to shards: contents, determinism, the cache and every refusal.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <tuple>

#include "graph/shard.h"
#include "partition/prepare.h"
#include "tests/partition/graphs.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;
using test::Edge;

constexpr std::uint64_t kNodes = 501;

const std::vector<Edge>& edges() {
  static const std::vector<Edge> edges = test::community_edges(kNodes, 8, 6, 0.9, 5);
  return edges;
}

class Prepare : public ::testing::Test {
 protected:
  Prepare() {
    test::write_dataset(work_ / "data", kNodes, edges());
    std::vector<std::int32_t> parts(kNodes);
    for (std::size_t v = 0; v < kNodes; ++v) parts[v] = static_cast<std::int32_t>(v * 7 % 24);
    write_npy<std::int32_t>(work_ / "parts24.npy", parts, {kNodes});
  }
  Dataset dataset() const { return open_dataset(work_ / "data"); }
  fs::path new_directory() { return work_ / ("out-" + std::to_string(made_++)); }

  PrepareOptions options(int parts, PartitionMethod method) {
    PrepareOptions options{
        .parts = parts, .method = method, .fanout = {4, 3}, .batch_size = 50, .threads = 1};
    if (method == PartitionMethod::kFile) {
      options.assignment = work_ / ("parts" + std::to_string(parts) + ".npy");
      const NpyArray all = NpyArray::open(work_ / "parts24.npy");
      std::vector<std::uint8_t> values;
      for (const std::int32_t p : all.as<std::int32_t>()) {
        values.push_back(static_cast<std::uint8_t>(p % parts));
      }
      write_npy<std::uint8_t>(options.assignment, values, {values.size()});
    }
    return options;
  }
  fs::path written(const PrepareOptions& options) {
    const fs::path out = new_directory();
    write_partition(dataset(), options, out, {});
    return out;
  }
  /// No entry of the cache or the working directory is unfinished.
  void expect_nothing_half_made() const {
    for (const fs::path& root : {work_.path(), cache_.path()}) {
      for (const auto& entry : fs::directory_iterator(root)) {
        EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path();
      }
    }
  }
  std::size_t cached_partitions() const {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(cache_.path())) {
      count += entry.is_directory() && entry.path().filename().string().starts_with("partition-");
    }
    return count;
  }

  test::ScopedCache cache_;
  TemporaryDirectory work_;
  int made_ = 0;
};

constexpr PartitionMethod kAllMethods[] = {PartitionMethod::kMetis, PartitionMethod::kRandom,
                                           PartitionMethod::kRange, PartitionMethod::kFile};

/// OriginalId of every GlobalId.
std::vector<std::uint64_t> original_ids(const Partition& partition) {
  std::vector<std::uint64_t> ids;
  for (int part = 0; part < partition.info().num_parts; ++part) {
    const Shard shard = Shard::open(partition, part);
    for (const OriginalId id : shard.original_ids()) ids.push_back(value(id));
  }
  return ids;
}

void expect_topology(const Partition& partition, const std::vector<std::uint64_t>& original) {
  std::vector<Edge> found;
  for (int part = 0; part < partition.info().num_parts; ++part) {
    const Shard shard = Shard::open(partition, part);
    const TopologyView topology = shard.topology();
    for (std::size_t i = 0; i < shard.num_nodes(); ++i) {
      for (std::int64_t e = topology.indptr[i]; e < topology.indptr[i + 1]; ++e) {
        found.emplace_back(original[value(topology.neighbor(e))], value(shard.original_ids()[i]));
        if (e > topology.indptr[i]) {
          EXPECT_LE(found.rbegin()[1].first, found.back().first) << "not ascending";
        }
      }
    }
  }
  std::vector<Edge> expected = edges();
  std::sort(expected.begin(), expected.end());
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, expected);
}

std::map<std::uint64_t, std::int32_t> by_node(const LabeledNodes& split) {
  std::map<std::uint64_t, std::int32_t> map;
  for (std::size_t i = 0; i < split.nodes.size(); ++i) map[split.nodes[i]] = split.labels[i];
  return map;
}

void expect_node_data(const Partition& partition) {
  const DatasetArrays arrays = test::describe(kNodes);
  std::map<std::uint64_t, std::int32_t> train, validation, test;
  for (int part = 0; part < partition.info().num_parts; ++part) {
    const Shard shard = Shard::open(partition, part);
    const auto original = [&](LocalId id) { return value(shard.original_ids()[value(id)]); };
    const auto collect = [&](std::span<const LocalId> nodes, auto& split) {
      for (const LocalId id : nodes) split[original(id)] = shard.labels()[value(id)];
    };
    collect(shard.train_nodes(), train);
    collect(shard.validation_nodes(), validation);
    collect(shard.test_nodes(), test);
    ASSERT_EQ(shard.features().cols, 3);
    for (std::size_t i = 0; i < shard.num_nodes(); ++i) {
      const std::uint64_t v = value(shard.original_ids()[i]);
      const float* row = shard.features().row<float>(static_cast<std::int64_t>(i));
      for (std::uint64_t c = 0; c < 3; ++c) EXPECT_EQ(row[c], static_cast<float>(3 * v + c));
      const bool labelled = v % 3 == 0 || v % 7 == 1 || v % 5 == 2;
      EXPECT_EQ(shard.labels()[i], labelled ? static_cast<std::int32_t>(v % 5) : -1);
    }
  }
  EXPECT_EQ(train, by_node(arrays.train));
  EXPECT_EQ(validation, by_node(arrays.validation));
  EXPECT_EQ(test, by_node(arrays.test));
}

/// Contents of all files but quality.json, which holds times.
std::map<std::string, std::string> contents(const fs::path& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string name = fs::relative(entry.path(), root).string();
    if (entry.is_regular_file() && name != "quality.json") files[name] = read_file(entry.path());
  }
  return files;
}

template <class F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "not refused";
}

TEST_F(Prepare, ShardsTogetherAreTheDataset) {
  for (const PartitionMethod method : kAllMethods) {
    for (const int parts : {1, 2, 3, 4, 8}) {
      if (parts == 1 && method == PartitionMethod::kFile) continue;
      SCOPED_TRACE(testing::Message() << "method " << int(method) << ", parts " << parts);
      const Partition partition = Partition::open(written(options(parts, method)));
      ASSERT_EQ(partition.info().num_parts, parts);
      const std::vector<std::uint64_t> original = original_ids(partition);
      EXPECT_EQ(original.size(), kNodes);
      EXPECT_EQ(std::set<std::uint64_t>(original.begin(), original.end()).size(), kNodes);
      expect_topology(partition, original);
      expect_node_data(partition);
      std::vector<std::uint64_t> seeds;
      for (const GlobalId seed : partition.train_seeds()) seeds.push_back(original[value(seed)]);
      EXPECT_TRUE(std::is_sorted(seeds.begin(), seeds.end()));
      EXPECT_EQ(seeds.size(), test::describe(kNodes).train.nodes.size());
    }
  }
}

/// Label c of node v holds where bit c of v is 1.
void make_multi_label(const fs::path& data) {
  for (const char* split : {"train", "valid", "test"}) {
    const NpyArray seeds = NpyArray::open(data / (split + std::string("_seeds.npy")));
    std::vector<std::uint8_t> rows;
    for (const std::int64_t v : seeds.as<std::int64_t>()) {
      for (int c = 0; c < 5; ++c) rows.push_back(v >> c & 1);
    }
    write_npy<std::uint8_t>(data / (split + std::string("_labels.npy")), rows,
                            {rows.size() / 5, 5});
  }
}

TEST_F(Prepare, ShardsOfAMultiLabelTaskHoldItsRows) {
  make_multi_label(work_ / "data");
  for (const int parts : {1, 3}) {
    const Partition partition = Partition::open(written(options(parts, PartitionMethod::kRandom)));
    EXPECT_EQ(partition.info().task, Task::kMultiLabel);
    std::size_t labelled = 0;
    for (int part = 0; part < parts; ++part) {
      const Shard shard = Shard::open(partition, part);
      const auto labels = shard.label_matrix();
      ASSERT_EQ(labels.size(), shard.num_nodes() * 5);
      for (std::size_t i = 0; i < shard.num_nodes(); ++i) {
        const std::uint64_t v = value(shard.original_ids()[i]);
        const bool has_labels = v % 3 == 0 || v % 7 == 1 || v % 5 == 2;
        for (std::size_t c = 0; c < 5; ++c) {
          EXPECT_EQ(labels[i * 5 + c], has_labels ? v >> c & 1 : 0) << v;
        }
        labelled += has_labels;
      }
    }
    EXPECT_GT(labelled, kNodes / 3);
  }
}

/// (destination, source, weight) of all edges of a partition as stored, destinations ascending.
std::vector<std::tuple<std::uint64_t, std::uint64_t, float>> weighted_edges(
    const Partition& partition) {
  const std::vector<std::uint64_t> original = original_ids(partition);
  std::vector<std::tuple<std::uint64_t, std::uint64_t, float>> found;
  for (int part = 0; part < partition.info().num_parts; ++part) {
    const Shard shard = Shard::open(partition, part);
    const TopologyView topology = shard.topology();
    for (std::size_t i = 0; i < shard.num_nodes(); ++i) {
      for (std::int64_t e = topology.indptr[i]; e < topology.indptr[i + 1]; ++e) {
        found.emplace_back(value(shard.original_ids()[i]), original[value(topology.neighbor(e))],
                           topology.edge_weights[static_cast<std::size_t>(e)]);
      }
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return std::get<0>(a) < std::get<0>(b); });
  return found;
}

TEST_F(Prepare, WeightsFollowTheirEdgesIntoTheShards) {
  for (const PartitionMethod method : {PartitionMethod::kRange, PartitionMethod::kMetis}) {
    const auto unweighted = Partition::open(written(options(3, method)));
    EXPECT_FALSE(unweighted.info().edge_weights);
    EXPECT_FALSE(fs::exists(unweighted.directory() / "part-0" / "edge_weights.npy"));
    EXPECT_TRUE(Shard::open(unweighted, 0).topology().edge_weights.empty());
  }
  test::write_edge_weights(work_ / "data", edges().size());
  std::vector<std::tuple<std::uint64_t, std::uint64_t, float>> expected;
  for (std::size_t e = 0; e < edges().size(); ++e) {
    expected.emplace_back(edges()[e].second, edges()[e].first, static_cast<float>(e) / 4);
  }
  std::sort(expected.begin(), expected.end());  // parallel edges: weights ascend with positions
  for (const PartitionMethod method : kAllMethods) {
    for (const int parts : {1, 4}) {
      if (parts == 1 && method == PartitionMethod::kFile) continue;
      PrepareOptions of = options(parts, method);
      of.threads = 3;
      const auto partition = Partition::open(written(of));
      EXPECT_TRUE(partition.info().edge_weights);
      EXPECT_EQ(weighted_edges(partition), expected);
    }
  }
}

TEST_F(Prepare, WeightsAreNotTakenFromACscWithoutThem) {
  test::write_edge_weights(work_ / "data", edges().size());
  const PrepareOptions range = options(2, PartitionMethod::kRange);
  const auto before = contents(written(range));
  for (const auto& entry : fs::directory_iterator(cache_.path())) {
    if (entry.is_directory()) fs::remove(entry.path() / "weights.npy");
  }
  EXPECT_EQ(contents(written(range)), before);
}

TEST_F(Prepare, RefusesBadWeightsAndLeavesNothing) {
  test::write_edge_weights(work_ / "data", edges().size());
  std::vector<double> weights(edges().size(), 1);
  weights[7] = -0.5;
  write_npy<double>(work_ / "data" / "weights.npy", weights, {weights.size()});
  const Dataset data = dataset();
  const fs::path out = new_directory();
  const auto range = options(2, PartitionMethod::kRange);
  const std::string text = refusal([&] { write_partition(data, range, out, {}); });
  EXPECT_NE(text.find("weights.npy holds -0.500000 at edge 7"), std::string::npos) << text;
  EXPECT_EQ(refusal([&] { prepare_partition(data, range, {}); }), text);
  EXPECT_FALSE(fs::exists(out));
  expect_nothing_half_made();
}

TEST_F(Prepare, DescribesWhatItMade) {
  const Partition metis = Partition::open(written(options(3, PartitionMethod::kMetis)));
  EXPECT_EQ(metis.info().method, "metis");
  EXPECT_EQ(metis.info().fanout, (std::vector<std::int32_t>{4, 3}));
  EXPECT_EQ(metis.info().dataset_name, "planted");
  EXPECT_EQ(metis.info().num_edges, edges().size());
  EXPECT_EQ(metis.info().dataset_fingerprint, content_fingerprint(dataset()));
  const Partition whole = Partition::open(written(options(1, PartitionMethod::kMetis)));
  EXPECT_EQ(whole.info().method, "none");
  const auto quality = nlohmann::json::parse(read_file(metis.directory() / "quality.json"));
  std::set<std::string> keys;
  for (const auto& item : quality.items()) keys.insert(item.key());
  EXPECT_EQ(keys,
            (std::set<std::string>{"parts", "method", "seconds", "peak_rss_bytes", "cut_fraction",
                                   "halo_rows", "shuffle_rows", "load_max_avg"}));
  EXPECT_EQ(quality["parts"], 3);
  EXPECT_GT(quality["shuffle_rows"], 0);
  EXPECT_GT(quality["peak_rss_bytes"], 1 << 20);
  EXPECT_GE(quality["load_max_avg"]["input_rows"], 1);
}

TEST_F(Prepare, FilesDoNotDependOnThreads) {
  for (const PartitionMethod method :
       {PartitionMethod::kMetis, PartitionMethod::kStream, PartitionMethod::kRandom}) {
    PrepareOptions one = options(4, method), four = one;
    one.threads = 1;
    four.threads = 4;
    EXPECT_EQ(contents(written(one)), contents(written(four)));
  }
}

TEST_F(Prepare, WhatAutoHasMadeIsNotMadeAgainByName) {
  PrepareOptions automatic = options(3, PartitionMethod::kAuto);
  automatic.memory = 1 << 16;
  const Partition first = prepare_partition(dataset(), automatic, {});
  EXPECT_EQ(first.info().method, "stream");
  const auto by_name = [&](PartitionMethod method) {
    return prepare_partition(dataset(), options(3, method), {}).directory();
  };
  EXPECT_EQ(by_name(PartitionMethod::kStream), first.directory());
  EXPECT_NE(by_name(PartitionMethod::kMetis), first.directory());
}

TEST_F(Prepare, AutoTakesMetisWhereItFitsElseStream) {
  std::string told;
  const Log log{.info_sink = [&](const std::string& line) { told += line + '\n'; },
                .warning_sink = {}};
  const auto made = [&](std::uint64_t memory) {
    PrepareOptions automatic = options(3, PartitionMethod::kAuto);
    automatic.memory = memory;
    const fs::path out = new_directory();
    write_partition(dataset(), automatic, out, log);
    return Partition::open(out);
  };
  const Partition ample = made(std::uint64_t{1} << 30), scarce = made(1 << 16);
  EXPECT_EQ(ample.info().method, "metis");
  EXPECT_EQ(scarce.info().method, "stream");
  EXPECT_NE(told.find("auto takes metis"), std::string::npos) << told;
  EXPECT_NE(told.find("auto takes stream: METIS would need about"), std::string::npos) << told;
  EXPECT_EQ(contents(scarce.directory()), contents(written(options(3, PartitionMethod::kStream))));
}

TEST_F(Prepare, MetisByNameIsRefusedWhereItDoesNotFit) {
  PrepareOptions metis = options(3, PartitionMethod::kMetis);
  metis.memory = 1 << 16;
  const fs::path out = new_directory();
  const std::string text = refusal([&] { write_partition(dataset(), metis, out, {}); });
  EXPECT_NE(text.find("METIS would need about"), std::string::npos) << text;
  EXPECT_NE(text.find("--partition stream"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(Prepare, AutoKeepsWhatItDecidedFirst) {
  PrepareOptions automatic = options(2, PartitionMethod::kAuto);
  automatic.memory = 1 << 16;
  EXPECT_EQ(prepare_partition(dataset(), automatic, {}).info().method, "stream");
  automatic.memory = std::uint64_t{1} << 30;
  EXPECT_EQ(prepare_partition(dataset(), automatic, {}).info().method, "stream");
}

TEST_F(Prepare, HalfPrecisionFeaturesStayHalf) {
  const std::vector<std::uint16_t> bits(kNodes * 3, 0x3C00);
  NpyWriter writer(work_ / "data" / "feat.npy", NpyType{'f', 2}, {kNodes, 3});
  std::copy(bits.begin(), bits.end(), reinterpret_cast<std::uint16_t*>(writer.bytes().data()));
  writer.close();
  const Partition partition = Partition::open(written(options(2, PartitionMethod::kRange)));
  const ConstMatrixView features = Shard::open(partition, 1).features();
  EXPECT_EQ(features.dtype, DType::kF16);
  EXPECT_EQ(features.rows, static_cast<std::int64_t>(partition.info().range(1).size()));
}

TEST_F(Prepare, BFloat16FeaturesStayBFloat16) {
  std::vector<BFloat16> values(kNodes * 3, {0x7C00});  // large, but finite: not an infinite fp16
  write_npy<BFloat16>(work_ / "data" / "feat.npy", values, {kNodes, 3});
  const Partition partition = Partition::open(written(options(2, PartitionMethod::kRange)));
  const ConstMatrixView features = Shard::open(partition, 1).features();
  EXPECT_EQ(features.dtype, DType::kBF16);
  values[3 * 7 + 1] = {0xFF80};
  write_npy<BFloat16>(work_ / "data" / "feat.npy", values, {kNodes, 3});
  const Dataset data = dataset();
  const auto text = refusal(
      [&] { write_partition(data, options(2, PartitionMethod::kRange), new_directory(), {}); });
  EXPECT_NE(text.find("node 7, column 1"), std::string::npos) << text;
}

TEST_F(Prepare, RefusesFeaturesThatAreNotFiniteAndLeavesNothing) {
  std::vector<float> features(kNodes * 3, 1.0f);
  features[3 * 100 + 2] = std::numeric_limits<float>::infinity();
  features[3 * 100 + 0] = std::numeric_limits<float>::quiet_NaN();
  write_npy<float>(work_ / "data" / "feat.npy", features, {kNodes, 3});
  const Dataset data = dataset();
  const fs::path out = new_directory();
  const auto range = options(2, PartitionMethod::kRange);
  const std::string text = refusal([&] { write_partition(data, range, out, {}); });
  EXPECT_NE(text.find("feat.npy"), std::string::npos) << text;
  EXPECT_NE(text.find("node 100, column 0"), std::string::npos) << text;
  EXPECT_EQ(refusal([&] { prepare_partition(data, range, {}); }), text);
  EXPECT_FALSE(fs::exists(out));
  EXPECT_EQ(cached_partitions(), 0u);
  expect_nothing_half_made();
}

TEST_F(Prepare, RefusesBadOptions) {
  const Dataset data = dataset();
  const auto with = [&](auto&& change) {
    PrepareOptions bad = options(2, PartitionMethod::kRange);
    change(bad);
    return refusal([&] { write_partition(data, bad, new_directory(), {}); });
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(with([](auto& o) { o.parts = 0; }), "--parts 0"));
  EXPECT_TRUE(has(with([](auto& o) { o.parts = 502; }), "501 nodes cannot fill 502 parts"));
  EXPECT_TRUE(has(with([](auto& o) { o.fanout = {0}; }), "--fanout"));
  EXPECT_TRUE(has(with([](auto& o) { o.batch_size = 0; }), "batch size"));
  EXPECT_TRUE(has(with([](auto& o) { o.sampler = Sampler::kWeighted; }), "needs edge weights"));
  EXPECT_TRUE(has(with([](auto& o) { o.method = PartitionMethod::kFile; }), "--assignment"));
  EXPECT_TRUE(has(with([](auto& o) { o.assignment = "x.npy"; }), "--assignment"));
  EXPECT_TRUE(has(refusal([&] {
                    write_partition(data, options(2, PartitionMethod::kRange), work_ / "data", {});
                  }),
                  "exists already"));
  expect_nothing_half_made();
}

TEST(PartitionMethod, UnknownNamesAreRefusedWithTheAlternatives) {
  EXPECT_EQ(partition_method_from_name("auto"), PartitionMethod::kAuto);
  EXPECT_EQ(partition_method_from_name("stream"), PartitionMethod::kStream);
  EXPECT_EQ(partition_method_from_name("range"), PartitionMethod::kRange);
  for (const std::string name : {"streams", "louvain"}) {
    const std::string text = refusal([&] { partition_method_from_name(name); });
    EXPECT_NE(text.find(name), std::string::npos) << text;
    EXPECT_NE(text.find("auto, metis, stream, random, range or file"), std::string::npos) << text;
  }
}

/// Counts the lines that builds and damage leave.
struct CountingLog {
  std::atomic<int> builds{0}, warnings{0};
  Log log{.info_sink =
              [this](const std::string& line) {
                builds += line.find("partitioned in") != std::string::npos;
              },
          .warning_sink = [this](const std::string&) { ++warnings; }};
};

TEST_F(Prepare, CacheIsHitByTheSameOptionsOnly) {
  const Dataset data = dataset();
  CountingLog counting;
  PrepareOptions base = options(2, PartitionMethod::kRandom);
  const fs::path first = prepare_partition(data, base, counting.log).directory();
  EXPECT_EQ(counting.builds, 1);
  base.threads = 1;
  EXPECT_EQ(prepare_partition(data, base, counting.log).directory(), first);
  EXPECT_EQ(counting.builds, 1);
  std::set<fs::path> others{first};
  const auto expect_new = [&](const PrepareOptions& changed) {
    const int before = counting.builds;
    EXPECT_TRUE(others.insert(prepare_partition(data, changed, counting.log).directory()).second);
    EXPECT_EQ(counting.builds, before + 1);
  };
  PrepareOptions changed = base;
  changed.seed = 1;
  expect_new(changed);
  (changed = base).parts = 3;
  expect_new(changed);
  (changed = base).fanout = {4};
  expect_new(changed);
  (changed = base).batch_size = 51;
  expect_new(changed);
  (changed = base).sampler = Sampler::kLabor;
  expect_new(changed);
  expect_new(options(2, PartitionMethod::kRange));
  expect_new(options(2, PartitionMethod::kFile));
  EXPECT_EQ(counting.warnings, 0);
}

TEST_F(Prepare, CacheNoticesChangedDataAndServesMovedData) {
  const PrepareOptions range = options(2, PartitionMethod::kRange);
  const fs::path first = prepare_partition(dataset(), range, {}).directory();
  fs::rename(work_ / "data", work_ / "moved");
  EXPECT_EQ(prepare_partition(open_dataset(work_ / "moved"), range, {}).directory(), first);
  test::write_dataset(work_ / "data", kNodes, {{1, 2}, {3, 4}});
  const Partition changed = prepare_partition(dataset(), range, {});
  EXPECT_NE(changed.directory(), first);
  EXPECT_EQ(changed.info().num_edges, 2u);
}

TEST_F(Prepare, OnePartIsMadeOnceForAllMethods) {
  const Dataset data = dataset();
  prepare_partition(data, options(1, PartitionMethod::kMetis), {});
  prepare_partition(data, options(1, PartitionMethod::kRandom), {});
  EXPECT_EQ(cached_partitions(), 1u);
}

TEST_F(Prepare, DamagedEntriesAreMadeAgainWithAWarning) {
  const Dataset data = dataset();
  const PrepareOptions range = options(2, PartitionMethod::kRange);
  const fs::path entry = prepare_partition(data, range, {}).directory();
  const auto intact = contents(entry);
  const std::vector<std::pair<std::string, std::string>> damages{
      {"partition.json", "{"},
      {"train_seeds.npy", ""},
      {"part-1/indices.npy", intact.at("part-1/indices.npy").substr(0, 200)},
      {"part-0/labels.npy", intact.at("part-0/indptr.npy")}};
  for (const auto& [name, content] : damages) {
    SCOPED_TRACE(name);
    write_file(entry / name, content);
    CountingLog counting;
    EXPECT_EQ(prepare_partition(data, range, counting.log).directory(), entry);
    EXPECT_EQ(counting.builds, 1);
    EXPECT_GE(counting.warnings, 1);
    EXPECT_EQ(contents(entry), intact);
  }
  fs::remove_all(entry / "part-0");
  prepare_partition(data, range, {});
  EXPECT_EQ(contents(entry), intact);
}

TEST_F(Prepare, DamagedCscIsMadeAgain) {
  const auto before = contents(written(options(2, PartitionMethod::kRange)));
  for (const auto& entry : fs::directory_iterator(cache_.path())) {
    if (entry.is_directory()) write_file(entry.path() / "indices.npy", "rubbish");
  }
  EXPECT_EQ(contents(written(options(2, PartitionMethod::kRange))), before);
}

TEST_F(Prepare, LeftoversOfKilledProcessesAreCleared) {
  const Dataset data = dataset();
  const PrepareOptions range = options(2, PartitionMethod::kRange);
  const fs::path entry = prepare_partition(data, range, {}).directory();
  fs::remove_all(entry);
  std::string name = entry.filename().string() + ".unfinished-1-0";
  name.insert(name.begin(), '.');
  const fs::path leftover = cache_.path() / name;
  fs::create_directory(leftover);
  write_file(leftover / "partition.json", "{");
  prepare_partition(data, range, {});
  EXPECT_FALSE(fs::exists(leftover));
}

TEST_F(Prepare, ThreadsThatStartTogetherBuildOnce) {
  const Dataset data = dataset();
  const PrepareOptions random = options(3, PartitionMethod::kRandom);
  CountingLog counting;
  std::barrier start(4);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      EXPECT_EQ(prepare_partition(data, random, counting.log).info().num_parts, 3);
    });
  }
  threads.clear();
  EXPECT_EQ(counting.builds, 1);
  expect_nothing_half_made();
}

TEST_F(Prepare, ProcessesThatStartTogetherBuildOnce) {
  const Dataset data = dataset();
  PrepareOptions random = options(3, PartitionMethod::kRandom);
  random.threads = 1;  // a child of fork() cannot use the parent's OpenMP threads
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      CountingLog counting;
      const bool whole = prepare_partition(data, random, counting.log).info().num_parts == 3;
      ::_exit(whole ? counting.builds.load() : 100);
    }
    children.push_back(child);
  }
  int builds = 0;
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    builds += WEXITSTATUS(status);
  }
  EXPECT_EQ(builds, 1);
  EXPECT_EQ(cached_partitions(), 1u);
}

TEST_F(Prepare, CacheFolderFollowsTheEnvironment) {
  EXPECT_EQ(cache_directory(), cache_.path());
  ::unsetenv("GSPLIT_CACHE");
  ::setenv("XDG_CACHE_HOME", (work_ / "xdg").c_str(), 1);
  EXPECT_EQ(cache_directory(), work_ / "xdg" / "gsplit");
  EXPECT_TRUE(fs::is_directory(work_ / "xdg" / "gsplit"));
  ::unsetenv("XDG_CACHE_HOME");
  ::setenv("HOME", work_.path().c_str(), 1);
  EXPECT_EQ(cache_directory(), work_ / ".cache" / "gsplit");
}

TEST_F(Prepare, ReadersRefuseDamagedMultiLabels) {
  make_multi_label(work_ / "data");
  const fs::path out = written(options(1, PartitionMethod::kRandom));
  const auto refuse_rows = [&](std::uint8_t label, std::vector<std::uint64_t> shape) {
    write_npy<std::uint8_t>(out / "part-0" / "labels.npy",
                            std::vector<std::uint8_t>(kNodes * 5, label), std::move(shape));
    const std::string text = refusal([&] { Shard::open(Partition::open(out), 0); });
    return text.find("labels.npy") != std::string::npos;
  };
  EXPECT_FALSE(refuse_rows(1, {kNodes, 5}));
  EXPECT_TRUE(refuse_rows(2, {kNodes, 5}));
  EXPECT_TRUE(refuse_rows(1, {kNodes * 5}));
  write_npy<std::int32_t>(out / "part-0" / "labels.npy", std::vector<std::int32_t>(kNodes),
                          {kNodes});
  EXPECT_NE(refusal([&] { Shard::open(Partition::open(out), 0); }).find("labels.npy"),
            std::string::npos);
}

/// One shard file or partition.json replaced by something wrong.
TEST_F(Prepare, ReadersNameTheDamagedFile) {
  test::write_edge_weights(work_ / "data", edges().size());
  const fs::path out = written(options(2, PartitionMethod::kRange));
  const auto intact = contents(out);
  const auto expect_refused = [&](const std::string& name, auto&& damage) {
    damage(out / name);
    const std::string text = refusal([&] {
      const Partition partition = Partition::open(out);
      Shard::open(partition, 0);
    });
    EXPECT_NE(text.find(name), std::string::npos) << text;
    write_file(out / name, intact.at(name));
  };
  const auto n = Partition::open(out).info().range(0).size();
  const auto integers = [](auto value, std::uint64_t count) {
    return [=](const fs::path& file) {
      using T = decltype(value);
      write_npy<T>(file, std::vector<T>(count, value), {count});
    };
  };
  expect_refused("part-0/indptr.npy", integers(std::int64_t{1}, n + 1));
  expect_refused("part-0/indptr.npy", integers(std::int64_t{0}, n));
  expect_refused("part-0/indices.npy", integers(std::uint64_t{1}, 5));
  expect_refused("part-0/edge_weights.npy", integers(1.0f, 5));
  expect_refused("part-0/edge_weights.npy", [](const fs::path& file) { fs::remove(file); });
  expect_refused("part-0/original_ids.npy", integers(kNodes, n));
  expect_refused("part-0/features.npy", integers(1.0, n));
  expect_refused("part-0/features.npy", integers(1.0f, n));
  expect_refused("part-0/labels.npy", integers(std::int32_t{1}, n + 1));
  expect_refused("part-0/train_nodes.npy", integers(std::uint32_t{1}, 2));
  expect_refused("part-0/validation_nodes.npy", integers(static_cast<std::uint32_t>(n), 1));
  expect_refused("part-0/test_nodes.npy", integers(std::int64_t{1}, 1));
  expect_refused("part-0/test_nodes.npy", [](const fs::path& file) { fs::remove(file); });
  expect_refused("train_seeds.npy", integers(kNodes, test::describe(kNodes).train.nodes.size()));
  const auto edit = [](const std::string& key, const nlohmann::json& value) {
    return [=](const fs::path& file) {
      auto json = nlohmann::json::parse(read_file(file));
      json[key] = value;
      write_file(file, json.dump());
    };
  };
  expect_refused("partition.json", edit("format_version", 1));
  expect_refused("partition.json", edit("task", "regression"));
  expect_refused("partition.json", edit("bounds", {0, 1}));
  expect_refused("partition.json", edit("bounds", {0, 501, 501}));
  expect_refused("partition.json", edit("bounds", {0, 7, 500}));
  expect_refused("partition.json", edit("num_parts", "two"));
  expect_refused("partition.json", edit("num_parts", nullptr));
  expect_refused("partition.json", edit("edge_weights", 1));
  EXPECT_NE(refusal([&] { Shard::open(Partition::open(out), 2); }).find("no part 2"),
            std::string::npos);
  EXPECT_EQ(contents(out), intact);
}

}  // namespace
}  // namespace gsplit
