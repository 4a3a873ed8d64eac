// Reads of feature rows in presampled batches, against sets of what each part reads.
#include "partition/read_counts.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "partition/prepare.h"
#include "tests/partition/graphs.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kNodes = 501;

class Reads : public ::testing::Test {
 protected:
  Reads() {
    test::write_dataset(work_ / "data", kNodes, test::community_edges(kNodes, 8, 6, 0.9, 5));
    dataset_ = open_dataset(work_ / "data");
  }
  Partition partition(int parts) const {
    return prepare_partition(
        dataset_,
        {.parts = parts, .method = PartitionMethod::kRandom, .fanout = {4, 3}, .batch_size = 50},
        {});
  }
  std::vector<fs::path> entries() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(cache_.path())) {
      if (entry.is_directory() && entry.path().filename().string().starts_with("reads-")) {
        found.push_back(entry.path());
      }
    }
    return found;
  }

  test::ScopedCache cache_;
  TemporaryDirectory work_;
  Dataset dataset_;
};

PresampleOptions options(int threads = 1) {
  return {.fanout = {4, 3}, .batch_size = 50, .max_batches = 3, .seed = 4, .threads = threads};
}

/// Where each original id has gone.
struct Place {
  int part = 0;
  std::uint64_t global = 0;
};

std::map<std::uint64_t, Place> places(const Partition& partition) {
  std::map<std::uint64_t, Place> places;
  for (int part = 0; part < partition.info().num_parts; ++part) {
    const Shard shard = Shard::open(partition, part);
    std::uint64_t global = shard.range().begin;
    for (const OriginalId id : shard.original_ids()) places[value(id)] = {part, global++};
  }
  return places;
}

TEST_F(Reads, AreThoseOfTheInputLayer) {
  const Csc csc = prepare_csc(dataset_, 1, {});
  const PresampledBatches batches(csc.view(), dataset_.train.nodes, options());
  ASSERT_EQ(batches.size(), 3u);
  for (const int parts : {1, 2, 5}) {
    const Partition partition = this->partition(parts);
    const std::map<std::uint64_t, Place> place = places(partition);
    std::vector<std::vector<std::uint16_t>> expected(static_cast<std::size_t>(parts),
                                                     std::vector<std::uint16_t>(kNodes, 0));
    std::vector<PresampledLayer> last;
    int layer = 0;
    batches.replay(
        {.layer =
             [&](const PresampledLayer& sample) {
               if (++layer % 2 != 0) return;  // two layers: the second is at the input
               std::vector<std::set<std::uint64_t>> read(static_cast<std::size_t>(parts));
               for (std::size_t i = 0; i < sample.destinations.size(); ++i) {
                 auto& of_part =
                     read[static_cast<std::size_t>(place.at(sample.destinations[i]).part)];
                 of_part.insert(place.at(sample.destinations[i]).global);
                 for (auto e = sample.offsets[i]; e < sample.offsets[i + 1]; ++e) {
                   of_part.insert(place.at(csc.view().neighbor(sample.edges[e])).global);
                 }
               }
               for (std::size_t p = 0; p < read.size(); ++p) {
                 for (const std::uint64_t node : read[p]) ++expected[p][node];
               }
             },
         .inputs = {}});
    for (const int threads : {1, 3}) {
      fs::remove_all(entries().empty() ? work_ / "nothing" : entries().front());
      const ReadCounts counts = prepare_read_counts(dataset_, partition, options(threads), {});
      for (int p = 0; p < parts; ++p) {
        const auto of_part = counts.of(p);
        EXPECT_EQ(std::vector(of_part.begin(), of_part.end()),
                  expected[static_cast<std::size_t>(p)])
            << parts << " parts, part " << p;
      }
    }
    for (const fs::path& entry : entries()) fs::remove_all(entry);
  }
}

TEST_F(Reads, OfOnePartAreTheBatchesThatNeedTheRow) {
  const Csc csc = prepare_csc(dataset_, 1, {});
  const PresampledBatches batches(csc.view(), dataset_.train.nodes, options());
  const PresampleCounts counted = count_samples(csc.view(), dataset_.train.nodes, batches, 1);
  const ReadCounts counts = prepare_read_counts(dataset_, partition(1), options(), {});
  for (std::uint64_t node = 0; node < kNodes; ++node) {
    ASSERT_EQ(counts.of(0)[node], counted.input_rows[node]) << node;
  }
}

TEST_F(Reads, AreKeptForEachPresampleAndPartition) {
  const Partition two = partition(2);
  prepare_read_counts(dataset_, two, options(), {});
  prepare_read_counts(dataset_, two, options(3), {});  // threads change nothing
  EXPECT_EQ(entries().size(), 1u);
  PresampleOptions other = options();
  other.seed = 5;
  prepare_read_counts(dataset_, two, other, {});
  other = options();
  other.batch_size = 25;
  prepare_read_counts(dataset_, two, other, {});
  other = options();
  other.sampler = Sampler::kLabor;
  prepare_read_counts(dataset_, two, other, {});
  EXPECT_EQ(entries().size(), 4u);
  prepare_read_counts(dataset_, partition(3), options(), {});
  EXPECT_EQ(entries().size(), 5u);
}

TEST_F(Reads, AreMadeAgainWhereTheyAreDamaged) {
  const Partition two = partition(2);
  const ReadCounts before = prepare_read_counts(dataset_, two, options(), {});
  const std::vector<std::uint16_t> expected(before.of(1).begin(), before.of(1).end());
  const fs::path file = entries().front() / "reads.npy";
  const std::vector<std::uint16_t> few(7, 1);
  for (const auto& damage :
       {std::function<void()>([&] { fs::resize_file(file, 100); }),
        std::function<void()>([&] { fs::remove(file); }), std::function<void()>([&] {
          fs::remove(file);
          write_npy<std::uint16_t>(file, few, {1, 7});
        })}) {
    damage();
    const ReadCounts again = prepare_read_counts(dataset_, two, options(), {});
    EXPECT_EQ(std::vector(again.of(1).begin(), again.of(1).end()), expected);
  }
}

}  // namespace
}  // namespace gsplit
