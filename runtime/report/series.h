// Figures of steps in bounded space: neighbouring steps share a bin once there are many.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gsplit {

/// Fields of a `step` event that a bin sums up, by their names there.
inline constexpr std::array kStepFields{
    "lr",          "seeds",           "edges",       "input_rows",    "rows_cache",
    "rows_remote", "rows_disk",       "rows_copied", "shuffle_bytes", "shuffle_bytes_pull",
    "plan_bytes",  "allreduce_bytes", "sample_s",    "load_s",        "compute_s",
    "comm_s",      "plan_wait_s"};
using StepFigures = std::array<double, kStepFields.size()>;

struct StepRecord {
  std::uint64_t step = 0;
  double elapsed_s = 0;  ///< of the run, pauses before a resume left out
  double loss = 0;       ///< NaN where it is not known
  StepFigures figures{};
};

/// Some steps, one after the other.
struct StepBin {
  std::uint64_t steps = 0;
  std::uint64_t last_step = 0;
  double elapsed_s = 0;      ///< at the end of the last one
  std::uint64_t losses = 0;  ///< steps whose loss is finite
  double loss_sum = 0;       ///< over these
  double loss_min = 0;
  double loss_max = 0;
  StepFigures sums{};

  void add(const StepRecord& record);
  /// `next`: the steps that follow.
  void add(const StepBin& next);
};

class StepSeries {
 public:
  /// Bins that there are at most.
  static constexpr std::size_t kMostBins = 512;

  void add(const StepRecord& record);
  const std::vector<StepBin>& bins() const { return bins_; }
  /// All steps in one bin.
  StepBin total() const;

 private:
  std::uint64_t steps_per_bin_ = 1;
  std::vector<StepBin> bins_;  // all but the last one full
};

}  // namespace gsplit
