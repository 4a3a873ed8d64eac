// --early-stop: ends a run when the validation accuracy has stopped rising.
#pragma once

#include <cstdint>

#include "runtime/train/evaluator.h"

namespace gsplit {

/// Fed with scores that all workers share, so that all decide alike.
class EarlyStopping {
 public:
  /// What it remembers; travels between workers as bytes.
  struct State {
    std::uint32_t last_epoch = 0;
    std::uint32_t best_epoch = 0;  ///< 0: none yet
    double best_accuracy = 0;
  };

  /// `patience`: epochs without a better validation accuracy; 0 never stops.
  explicit EarlyStopping(std::uint32_t patience) : patience_(patience) {}

  /// The scores of an epoch, from 1 and rising.
  void note(std::uint32_t epoch, const Score& validation) {
    state_.last_epoch = epoch;
    if (state_.best_epoch == 0 || validation.accuracy() > state_.best_accuracy) {
      state_.best_epoch = epoch;
      state_.best_accuracy = validation.accuracy();
    }
  }
  bool ended() const { return patience_ > 0 && state_.last_epoch - state_.best_epoch >= patience_; }

  const State& state() const { return state_; }
  void restore(const State& state) { state_ = state; }

 private:
  std::uint32_t patience_;
  State state_;
};

}  // namespace gsplit
