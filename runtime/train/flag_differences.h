// In which flags two configurations differ: those of a run and of its resume, or of two ranks.
#pragma once

#include <string>
#include <vector>

#include "runtime/train/config.h"

namespace gsplit {

/// A flag whose value differs, as config.yaml spells it.
struct FlagDifference {
  std::string name;
  std::string before;
  std::string now;
};

/// The flags that change what a run computes and differ. Those that may change on --resume are left
/// out: where the data lies (its fingerprint is compared elsewhere), how long the run goes on, how
/// many workers and threads it has, on which device it computes, evaluation, early stopping,
/// checkpoints.
std::vector<FlagDifference> resume_differences(const TrainConfig& before, const TrainConfig& now);

/// All flags that the ranks of a job must share, as text for another rank to compare.
std::string shared_flags(const TrainConfig& config);
/// Between the texts of two ranks.
std::vector<FlagDifference> rank_differences(const std::string& first, const std::string& other);

}  // namespace gsplit
