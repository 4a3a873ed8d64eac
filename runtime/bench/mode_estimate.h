// What a step takes in each mode, estimated before there is a run: what `gsplit train --mode auto`
// chooses by. A step of each mode is counted on a few presampled batches and divided by the rates
// of the machine:
//
//   work      the floor of the step (runtime/bench/floor.h) over all workers, by which each row
//   that
//             several workers load and compute counts for each, times `uneven`
//   uneven    sampled edges of the busiest worker / mean, as far as workers have cores of their own
//   shuffle   the rows that travel: each is gathered, sent, received and read again, and so is its
//             gradient; each is asked for by its id, which takes a few random reads
//   exchanges a fixed time for each, in which workers wait for one another
//
// Gradients are all-reduced alike in all modes.
#pragma once

#include <string>
#include <vector>

#include "kernels/base/log.h"
#include "partition/prepare.h"
#include "runtime/bench/floor.h"

namespace gsplit {

struct ModeOptions {
  FloorOptions step;
  Sampler sampler = Sampler::kUniform;
  int workers = 1;
  int cores = 1;                 ///< that they share
  double row_element_bytes = 4;  ///< of rows between workers
  /// How nodes are assigned to owners for the counts; kAuto and kMetis: by kStream, which takes
  /// linear time and shuffles about as much.
  PartitionMethod method = PartitionMethod::kAuto;
};

struct ModeEstimate {
  std::string mode;    ///< split, hybrid or data
  int group_size = 0;  ///< hybrid; else 0
  StepCounts counts;
  double shuffled_bytes = 0;
  double work_s = 0;
  double uneven = 1;
  double shuffle_s = 0;
  double exchanges_s = 0;

  double seconds() const { return work_s * uneven + shuffle_s + exchanges_s; }
};

inline constexpr int kMostEstimatedWorkers = kMaxCountedWorkers;

/// Of split, of hybrid for each divisor of the workers, of data. REQUIRES: 2 <= workers <=
/// kMostEstimatedWorkers; the dataset has training nodes.
std::vector<ModeEstimate> estimate_modes(const Dataset& dataset, const ModeOptions& options,
                                         const MachineRates& rates, const Log& log);

/// The one of the fewest seconds, of equal ones the first.
const ModeEstimate& fastest_of(const std::vector<ModeEstimate>& estimates);

/// "hybrid in groups of 2: 153 ms (work 140 ms x 1.02, shuffle 9 ms, exchanges 1 ms; ...)".
std::string as_text(const ModeEstimate& estimate);

}  // namespace gsplit
