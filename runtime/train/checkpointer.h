// When a run is checkpointed, and how it goes on from there. The state of training is the same on
// every worker, so rank 0 alone writes and reads it; all take part, so that a checkpoint is only
// committed for a step that all have done with the same result.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "runtime/nn/context.h"
#include "runtime/nn/parameters.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/config.h"
#include "runtime/train/early_stopping.h"
#include "runtime/train/optimizer.h"
#include "runtime/train/recorder.h"

namespace gsplit {

/// How far the loop has come, as all workers know it; travels between them as bytes.
struct LoopState {
  std::uint64_t step = 0;  ///< steps done
  bool evaluated = false;  ///< after that step
  EarlyStopping::State early_stopping;
};

/// Rank 0: the checkpoint that `config.run_dir` goes on from; nothing where it holds none. Throws
/// UsageError naming the flag or the dataset where the run would not be the same.
std::optional<Checkpoint> find_checkpoint(const TrainConfig& config,
                                          const std::string& dataset_fingerprint, const Log& log);

class Checkpointer {
 public:
  /// References must outlive it.
  Checkpointer(const TrainConfig& config, ParameterSet& parameters, OptimizerState& optimizer,
               Context& context);

  /// --checkpoint-minutes: whether they are over, by this worker's clock.
  bool minutes_are_over() const;
  /// --checkpoint-every-steps.
  bool due(std::uint64_t step) const;

  /// Collective. First phase: all workers agree on step and state, else SystemError naming the one
  /// that differs from rank 0. Second phase: rank 0, which alone has a recorder, writes and
  /// commits.
  void save(const LoopState& state, Recorder* recorder);

  /// Collective: sets weights and optimizer on all workers as rank 0's checkpoint has them. Returns
  /// where to go on: step 0 without a checkpoint.
  LoopState restore(const std::optional<Checkpoint>& checkpoint);

 private:
  void require_agreement(const LoopState& state);
  void write(const LoopState& state, Recorder& recorder);
  LoopState read(const Checkpoint& checkpoint);

  const TrainConfig& config_;
  ParameterSet& parameters_;
  OptimizerState& optimizer_;
  Context& context_;
  std::uint64_t last_step_ = 0;  // that is saved
  std::chrono::steady_clock::time_point last_time_ = std::chrono::steady_clock::now();
};

}  // namespace gsplit
