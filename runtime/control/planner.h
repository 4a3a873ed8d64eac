// The order in which training nodes are used: an epoch is one seeded permutation of them, cut into
// global mini-batches, each split by owner or by position. Every plan is a pure function of (seed,
// step), so any step can be asked for without replaying the ones before.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/base/ids.h"

namespace gsplit {

/// A keyed bijection of [0, size) in O(1) memory: a balanced Feistel network over the next even
/// number of bits with Philox as its round function, and cycle walking for values outside (J. Black
/// and P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
class EpochPermutation {
 public:
  EpochPermutation(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch);
  /// REQUIRES: position < size.
  std::uint64_t operator()(std::uint64_t position) const;

 private:
  std::uint64_t size_;
  std::uint64_t seed_;
  std::uint32_t epoch_;
  int half_bits_;
};

/// One worker's share of one step.
struct StepPlan {
  std::uint64_t step = 0;          ///< from 1 over the whole run
  std::uint32_t epoch = 0;         ///< from 1
  std::uint32_t global_batch = 0;  ///< seeds of all workers: the gradient's denominator
  bool last_of_epoch = false;
  std::vector<LocalId> seeds;  ///< own seeds, ascending; may be empty
};

struct PlannerOptions {
  std::uint64_t seed = 0;
  std::uint32_t batch_size = 1024;  ///< global
  std::uint32_t epochs = 10;
  std::uint64_t max_steps = 0;  ///< 0: epochs decide
  bool drop_last = false;
  /// Groups of workers, each with an owner of every part: a batch is cut into so many slices of the
  /// permutation, whose sizes differ by one at most, and each seed goes to its owner in the group
  /// of its slice. Worker s * parts + p owns part p in group s.
  std::uint32_t slices = 1;
};

/// Thread-safe after construction. The spans must outlive it.
class Planner {
 public:
  /// `train_seeds` as Partition::train_seeds; `bounds`: (parts + 1), part p is [bounds[p], bounds[p
  /// + 1]). Throws UsageError when there is nothing to train on (no seeds, or drop_last with a
  /// batch larger than the set).
  Planner(std::span<const GlobalId> train_seeds, std::vector<std::uint64_t> bounds,
          const PlannerOptions& options);
  /// Throws UsageError as the constructor does, before there is a partition.
  static void check(std::uint64_t num_train, const PlannerOptions& options);
  std::uint64_t steps_per_epoch() const { return steps_per_epoch_; }
  std::uint64_t total_steps() const { return total_steps_; }
  /// The shares of all workers, by rank. REQUIRES: 1 <= step <= total_steps().
  std::vector<StepPlan> plan(std::uint64_t step) const;

 private:
  std::span<const GlobalId> train_seeds_;
  std::vector<std::uint64_t> bounds_;
  PlannerOptions options_;
  std::uint64_t steps_per_epoch_ = 0;
  std::uint64_t total_steps_ = 0;
};

}  // namespace gsplit
