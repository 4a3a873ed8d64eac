// --early-stop: ends a run when the validation accuracy has stopped rising.
#pragma once

#include <cstdint>

#include "runtime/train/evaluator.h"

namespace gsplit {

/// Fed with scores that all workers share, so that all decide alike.
class EarlyStopping {
 public:
  /// `patience`: epochs without a better validation accuracy; 0 never stops.
  explicit EarlyStopping(std::uint32_t patience) : patience_(patience) {}

  /// Notes the scores of an epoch, from 1 and rising; whether it is the last one.
  bool ends_with(std::uint32_t epoch, const Score& validation) {
    if (best_epoch_ == 0 || validation.accuracy() > best_accuracy_) {
      best_epoch_ = epoch;
      best_accuracy_ = validation.accuracy();
    }
    return patience_ > 0 && epoch - best_epoch_ >= patience_;
  }

 private:
  std::uint32_t patience_;
  std::uint32_t best_epoch_ = 0;  // 0: none yet
  double best_accuracy_ = 0;
};

}  // namespace gsplit
