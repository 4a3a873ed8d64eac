// The order of training: every epoch a permutation, every plan the same mini-batch however many
// workers share it.
#include "runtime/control/planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "kernels/base/error.h"
#include "tests/runtime/control/control_fixture.h"

namespace gsplit {
namespace {

std::vector<std::uint64_t> order_of(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch) {
  const EpochPermutation permutation(size, seed, epoch);
  std::vector<std::uint64_t> order(size);
  for (std::uint64_t position = 0; position < size; ++position) {
    order[position] = permutation(position);
  }
  return order;
}

void expect_bijection(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch) {
  std::vector<bool> hit(size, false);
  for (const std::uint64_t target : order_of(size, seed, epoch)) {
    ASSERT_LT(target, size);
    ASSERT_FALSE(hit[target]) << target << " twice at size " << size;
    hit[target] = true;
  }
}

TEST(EpochPermutation, IsABijectionForEverySmallSize) {
  for (std::uint64_t size = 1; size <= 300; ++size) {
    for (const std::uint64_t seed : {0ull, 1ull, ~0ull}) expect_bijection(size, seed, 1);
    expect_bijection(size, 7, 1000);
  }
}

TEST(EpochPermutation, IsABijectionAroundPowersOfTwo) {
  for (const std::uint64_t power : {1024ull, 4096ull, 65536ull}) {
    for (const std::uint64_t size : {power - 1, power, power + 1}) expect_bijection(size, 42, 3);
  }
}

TEST(EpochPermutation, StaysInRangeAtHugeSizes) {
  const std::uint64_t size = (std::uint64_t{1} << 40) + 12345;
  const EpochPermutation permutation(size, 9, 2);
  std::set<std::uint64_t> targets;
  for (std::uint64_t i = 0; i < 1000; ++i) targets.insert(permutation(i * (size / 1000)));
  EXPECT_EQ(targets.size(), 1000u);
  EXPECT_LT(*targets.rbegin(), size);
  EXPECT_GT(*targets.rbegin(), size / 2);
}

TEST(EpochPermutation, DiffersByEpochAndSeedOnly) {
  EXPECT_EQ(order_of(1000, 5, 1), order_of(1000, 5, 1));
  EXPECT_NE(order_of(1000, 5, 1), order_of(1000, 5, 2));
  EXPECT_NE(order_of(1000, 5, 1), order_of(1000, 6, 1));
}

// Chi-square with size - 1 degrees of freedom of where position 0 and the last go over many epochs.
TEST(EpochPermutation, PutsEveryValueAnywhereEquallyOften) {
  for (const std::uint64_t size : {2ull, 5ull, 16ull, 33ull}) {
    constexpr std::uint32_t kEpochs = 20000;
    for (const std::uint64_t position : {std::uint64_t{0}, size - 1}) {
      std::vector<double> count(size, 0.0);
      for (std::uint32_t epoch = 1; epoch <= kEpochs; ++epoch) {
        count[EpochPermutation(size, 3, epoch)(position)] += 1;
      }
      const double expected = double{kEpochs} / static_cast<double>(size);
      double chi_square = 0;
      for (const double c : count) chi_square += (c - expected) * (c - expected) / expected;
      const double freedom = static_cast<double>(size - 1);
      EXPECT_LT(chi_square, freedom + 5 * std::sqrt(2 * freedom)) << "size " << size;
    }
  }
}

/// Seeds of a step in original ids, ascending; checks the shares on the way.
std::vector<std::uint64_t> union_of(const SplitSeeds& split, const std::vector<StepPlan>& shares) {
  std::vector<std::uint64_t> nodes;
  for (std::size_t part = 0; part < shares.size(); ++part) {
    const auto& seeds = shares[part].seeds;
    EXPECT_TRUE(std::is_sorted(seeds.begin(), seeds.end()));
    for (const LocalId seed : seeds) {
      const std::uint64_t global = split.bounds[part] + value(seed);
      EXPECT_LT(global, split.bounds[part + 1]) << "seed of another part";
      nodes.push_back(split.original_of[global]);
    }
    EXPECT_EQ(shares[part].step, shares[0].step);
    EXPECT_EQ(shares[part].global_batch, shares[0].global_batch);
    EXPECT_EQ(shares[part].last_of_epoch, shares[0].last_of_epoch);
  }
  EXPECT_EQ(nodes.size(), shares[0].global_batch);
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

class PlannerOfWorkers : public testing::TestWithParam<std::uint64_t> {};

TEST_P(PlannerOfWorkers, UsesEachSeedOncePerEpochAndAgreesWithOneWorker) {
  const PlannerOptions options{.seed = 11, .batch_size = 64, .epochs = 3};
  const SplitSeeds one = split_seeds(1001, 1);
  const SplitSeeds many = split_seeds(1001, GetParam());
  const Planner reference(one.train_seeds, one.bounds, options);
  const Planner planner(many.train_seeds, many.bounds, options);
  ASSERT_EQ(planner.total_steps(), 24u);
  ASSERT_EQ(planner.steps_per_epoch(), 8u);
  std::vector<std::uint64_t> epoch_nodes;
  for (std::uint64_t step = 1; step <= planner.total_steps(); ++step) {
    const std::vector<StepPlan> shares = planner.plan(step);
    ASSERT_EQ(shares.size(), GetParam());
    const std::vector<std::uint64_t> nodes = union_of(many, shares);
    EXPECT_EQ(nodes, union_of(one, reference.plan(step)));
    EXPECT_EQ(shares[0].step, step);
    EXPECT_EQ(shares[0].epoch, (step - 1) / 8 + 1);
    EXPECT_EQ(shares[0].last_of_epoch, step % 8 == 0);
    epoch_nodes.insert(epoch_nodes.end(), nodes.begin(), nodes.end());
    if (!shares[0].last_of_epoch) continue;
    std::sort(epoch_nodes.begin(), epoch_nodes.end());
    ASSERT_EQ(epoch_nodes.size(), 500u);
    for (std::size_t i = 0; i < 500; ++i) EXPECT_EQ(epoch_nodes[i], 2 * i + 1);
    epoch_nodes.clear();
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, PlannerOfWorkers, testing::Values(1, 2, 3, 8));

TEST(Planner, AnyStepCanBeAskedForInAnyOrder) {
  const SplitSeeds split = split_seeds(1000, 3);
  const PlannerOptions options{.seed = 1, .batch_size = 30, .epochs = 4};
  const Planner forward(split.train_seeds, split.bounds, options);
  const Planner backward(split.train_seeds, split.bounds, options);
  std::vector<std::vector<StepPlan>> plans;
  for (std::uint64_t step = 1; step <= forward.total_steps(); ++step) {
    plans.push_back(forward.plan(step));
  }
  for (std::uint64_t step = backward.total_steps(); step >= 1; --step) {
    const auto again = backward.plan(step);
    for (std::size_t part = 0; part < 3; ++part) {
      EXPECT_EQ(again[part].seeds, plans[step - 1][part].seeds);
    }
  }
}

TEST(Planner, LastBatchIsShortUnlessDropped) {
  const SplitSeeds split = split_seeds(200, 1);  // 100 seeds
  PlannerOptions options{.batch_size = 30, .epochs = 2};
  const Planner keep(split.train_seeds, split.bounds, options);
  EXPECT_EQ(keep.steps_per_epoch(), 4u);
  EXPECT_EQ(keep.plan(4)[0].global_batch, 10u);
  EXPECT_TRUE(keep.plan(4)[0].last_of_epoch);
  options.drop_last = true;
  const Planner drop(split.train_seeds, split.bounds, options);
  EXPECT_EQ(drop.total_steps(), 6u);
  EXPECT_EQ(drop.plan(3)[0].global_batch, 30u);
  EXPECT_TRUE(drop.plan(3)[0].last_of_epoch);
  EXPECT_EQ(drop.plan(4)[0].epoch, 2u);
}

TEST(Planner, MaxStepsWinsOverEpochs) {
  const SplitSeeds split = split_seeds(200, 1);
  const auto total = [&](std::uint64_t max_steps, std::uint32_t epochs) {
    return Planner(split.train_seeds, split.bounds,
                   {.batch_size = 30, .epochs = epochs, .max_steps = max_steps})
        .total_steps();
  };
  EXPECT_EQ(total(3, 10), 3u);
  EXPECT_EQ(total(17, 1), 17u);
  EXPECT_EQ(total(5, 0), 5u);
}

TEST(Planner, BatchLargerThanTheSetIsOneStepAnEpoch) {
  const SplitSeeds split = split_seeds(200, 2);
  PlannerOptions options{.batch_size = 4000, .epochs = 2};
  const Planner planner(split.train_seeds, split.bounds, options);
  EXPECT_EQ(planner.total_steps(), 2u);
  EXPECT_EQ(planner.plan(2)[0].global_batch, 100u);
  EXPECT_TRUE(planner.plan(1)[0].last_of_epoch);
  options.drop_last = true;
  EXPECT_THROW(Planner(split.train_seeds, split.bounds, options), UsageError);
}

TEST(Planner, RefusesNothingToTrainOn) {
  const SplitSeeds split = split_seeds(200, 2);
  EXPECT_THROW(Planner({}, split.bounds, {}), UsageError);
  EXPECT_THROW(Planner(split.train_seeds, split.bounds, {.batch_size = 0}), UsageError);
  EXPECT_THROW(Planner(split.train_seeds, split.bounds, {.epochs = 0}), UsageError);
}

class PlannerOfSlices : public testing::TestWithParam<std::uint32_t> {};

TEST_P(PlannerOfSlices, CutsThePermutationIntoEqualSlicesInItsOrder) {
  const SplitSeeds whole = split_seeds(1001, 1);
  PlannerOptions options{.seed = 11, .batch_size = 64, .epochs = 2};
  const Planner split(whole.train_seeds, whole.bounds, options);
  options.slices = GetParam();
  const Planner planner(whole.train_seeds, whole.bounds, options);
  ASSERT_EQ(planner.total_steps(), split.total_steps());
  for (std::uint64_t step = 1; step <= planner.total_steps(); ++step) {
    const std::vector<StepPlan> shares = planner.plan(step);
    const StepPlan batch = split.plan(step).front();
    ASSERT_EQ(shares.size(), options.slices);
    const EpochPermutation permutation(whole.train_seeds.size(), options.seed, batch.epoch);
    std::uint64_t position = (step - 1) % planner.steps_per_epoch() * options.batch_size;
    std::vector<LocalId> all;
    for (const StepPlan& share : shares) {
      EXPECT_EQ(share.global_batch, batch.global_batch);
      EXPECT_LE(share.seeds.size(), (batch.global_batch + options.slices - 1) / options.slices);
      EXPECT_GE(share.seeds.size(), batch.global_batch / options.slices);
      std::vector<LocalId> expected;
      for (std::size_t i = 0; i < share.seeds.size(); ++i) {
        const GlobalId node = whole.train_seeds[permutation(position++)];
        expected.push_back(static_cast<LocalId>(value(node)));
      }
      std::sort(expected.begin(), expected.end());
      EXPECT_EQ(share.seeds, expected);
      all.insert(all.end(), share.seeds.begin(), share.seeds.end());
    }
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, batch.seeds);
  }
}

// 100 workers: the last batch of an epoch has 52 seeds.
INSTANTIATE_TEST_SUITE_P(Workers, PlannerOfSlices, testing::Values(1, 2, 3, 8, 100));

/// The same slices, each divided among the owners of its group.
TEST(Planner, GroupsDivideTheirSlicesByOwner) {
  const SplitSeeds whole = split_seeds(1001, 1), parts = split_seeds(1001, 3);
  for (const std::uint32_t slices : {1u, 2u, 5u}) {
    const PlannerOptions options{.seed = 11, .batch_size = 64, .epochs = 2, .slices = slices};
    const Planner sliced(whole.train_seeds, whole.bounds, options);
    const Planner planner(parts.train_seeds, parts.bounds, options);
    for (std::uint64_t step = 1; step <= planner.total_steps(); ++step) {
      const std::vector<StepPlan> shares = planner.plan(step), expected = sliced.plan(step);
      ASSERT_EQ(shares.size(), 3 * slices);
      for (std::uint32_t s = 0; s < slices; ++s) {
        std::set<std::uint64_t> ours, theirs;
        for (std::uint32_t p = 0; p < 3; ++p) {
          for (const LocalId seed : shares[3 * s + p].seeds) {
            EXPECT_LT(parts.bounds[p] + value(seed), parts.bounds[p + 1]);
            ours.insert(parts.original_of[parts.bounds[p] + value(seed)]);
          }
        }
        for (const LocalId seed : expected[s].seeds) theirs.insert(whole.original_of[value(seed)]);
        EXPECT_EQ(ours, theirs) << "slice " << s << " of step " << step;
      }
    }
  }
}

TEST(Planner, EmptyPartsGetEmptyShares) {
  const std::vector<GlobalId> seeds{GlobalId{0}, GlobalId{3}, GlobalId{4}};
  const Planner planner(seeds, {0, 0, 4, 4, 5, 5}, {.batch_size = 3, .epochs = 1});
  const std::vector<StepPlan> shares = planner.plan(1);
  EXPECT_TRUE(shares[0].seeds.empty());
  EXPECT_EQ(shares[1].seeds, (std::vector<LocalId>{LocalId{0}, LocalId{3}}));
  EXPECT_TRUE(shares[2].seeds.empty());
  EXPECT_EQ(shares[3].seeds, std::vector<LocalId>{LocalId{0}});
  EXPECT_TRUE(shares[4].seeds.empty());
}

}  // namespace
}  // namespace gsplit
