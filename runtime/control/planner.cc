#include "runtime/control/planner.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"

namespace gsplit {
namespace {

// Four rounds make a pseudo-random permutation of a large domain (M. Luby and C. Rackoff, 1988). On
// a tiny one the steps of a cycle walk are correlated: over 100,000 epochs the position of a value
// of five is visibly uneven at six rounds and not at ten.
constexpr std::uint32_t kRounds = 6;
constexpr std::uint32_t kRoundsOfTiny = 10;
constexpr int kTinyHalfBits = 3;

struct Halves {
  std::uint32_t left;
  std::uint32_t right;
};

Halves feistel(Halves halves, DrawKey key, int half_bits) {
  const auto mask = static_cast<std::uint32_t>((std::uint64_t{1} << half_bits) - 1);
  const std::uint32_t rounds = half_bits <= kTinyHalfBits ? kRoundsOfTiny : kRounds;
  for (key.layer = 0; key.layer < rounds; ++key.layer) {
    const std::uint32_t mixed = halves.left ^ (draw(key, halves.right, 0).word[0] & mask);
    halves = {halves.right, mixed};
  }
  return halves;
}

std::uint64_t steps_in_epoch(std::uint64_t seeds, const PlannerOptions& options) {
  if (options.drop_last) return seeds / options.batch_size;
  return (seeds + options.batch_size - 1) / options.batch_size;
}

void check_bounds(const std::vector<std::uint64_t>& bounds) {
  GSPLIT_CHECK(bounds.size() >= 2 && bounds.front() == 0);
  for (std::size_t part = 1; part < bounds.size(); ++part) {
    GSPLIT_CHECK(bounds[part - 1] <= bounds[part]);
    GSPLIT_CHECK(bounds[part] - bounds[part - 1] < value(kNoLocal));
  }
}

void check_options(std::uint64_t seeds, const PlannerOptions& options) {
  if (seeds == 0) {
    throw UsageError("the dataset has no training nodes", "add a train split to it");
  }
  if (options.batch_size == 0) throw UsageError("--batch-size 0", "give at least 1");
  if (options.epochs == 0 && options.max_steps == 0) {
    throw UsageError("--epochs 0 without --max-steps leaves nothing to train", "give at least 1");
  }
  if (steps_in_epoch(seeds, options) == 0) {
    throw UsageError("--drop-last drops every seed: --batch-size " +
                         std::to_string(options.batch_size) + " is larger than the " +
                         std::to_string(seeds) + " training nodes",
                     "take a smaller batch or leave out --drop-last");
  }
}

}  // namespace

EpochPermutation::EpochPermutation(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch)
    : size_(size), seed_(seed), epoch_(epoch) {
  GSPLIT_CHECK(size > 0);
  half_bits_ = static_cast<int>((std::bit_width(size - 1) + 1) / 2);
}

std::uint64_t EpochPermutation::operator()(std::uint64_t position) const {
  GSPLIT_CHECK(position < size_);
  const DrawKey key{.seed = seed_, .step = epoch_, .purpose = Purpose::kPermutation};
  const auto mask = static_cast<std::uint32_t>((std::uint64_t{1} << half_bits_) - 1);
  std::uint64_t walker = position;
  do {  // the cycle through `position` comes back to it, so the walk ends
    const Halves halves = feistel({static_cast<std::uint32_t>(walker >> half_bits_),
                                   static_cast<std::uint32_t>(walker) & mask},
                                  key, half_bits_);
    walker = (std::uint64_t{halves.left} << half_bits_) | halves.right;
  } while (walker >= size_);
  return walker;
}

Planner::Planner(std::span<const GlobalId> train_seeds, std::vector<std::uint64_t> bounds,
                 const PlannerOptions& options)
    : train_seeds_(train_seeds), bounds_(std::move(bounds)), options_(options) {
  check_bounds(bounds_);
  GSPLIT_CHECK(options.slices >= 1);
  check_options(train_seeds_.size(), options_);
  steps_per_epoch_ = steps_in_epoch(train_seeds_.size(), options_);
  total_steps_ = options_.max_steps > 0 ? options_.max_steps : steps_per_epoch_ * options_.epochs;
}

void Planner::check(std::uint64_t num_train, const PlannerOptions& options) {
  check_options(num_train, options);
}

std::vector<StepPlan> Planner::plan(std::uint64_t step) const {
  GSPLIT_CHECK(step >= 1 && step <= total_steps_);
  const std::uint64_t step_of_epoch = (step - 1) % steps_per_epoch_;
  const std::uint64_t first = step_of_epoch * options_.batch_size;
  const std::uint64_t last =
      std::min<std::uint64_t>(first + options_.batch_size, train_seeds_.size());
  const StepPlan common{.step = step,
                        .epoch = static_cast<std::uint32_t>((step - 1) / steps_per_epoch_ + 1),
                        .global_batch = static_cast<std::uint32_t>(last - first),
                        .last_of_epoch = step_of_epoch + 1 == steps_per_epoch_};
  const std::size_t parts = bounds_.size() - 1;
  std::vector<StepPlan> shares(options_.slices * parts, common);
  const EpochPermutation permutation(train_seeds_.size(), options_.seed, common.epoch);
  for (std::uint64_t position = first; position < last; ++position) {
    const std::uint64_t node = value(train_seeds_[permutation(position)]);
    GSPLIT_CHECK(node < bounds_.back());
    const auto next_part = std::upper_bound(bounds_.begin(), bounds_.end(), node);
    const auto owner = static_cast<std::size_t>(next_part - bounds_.begin()) - 1;
    const std::size_t slice = (position - first) * options_.slices / (last - first);
    shares[slice * parts + owner].seeds.push_back(static_cast<LocalId>(node - bounds_[owner]));
  }
  for (StepPlan& share : shares) std::sort(share.seeds.begin(), share.seeds.end());
  return shares;
}

}  // namespace gsplit
