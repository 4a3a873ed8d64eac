#include "runtime/train/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

double cosine(const LrScheduleOptions& options, std::uint64_t step) {
  const std::uint64_t warmup = std::min(options.warmup_steps, options.total_steps);
  if (step <= warmup || options.total_steps == warmup) return 1;
  const std::uint64_t past = std::min(step - 1, options.total_steps) - warmup;
  const double share =
      static_cast<double>(past) / static_cast<double>(options.total_steps - warmup);
  return (1 + std::cos(std::numbers::pi * share)) / 2;
}

double drops(const LrScheduleOptions& options, std::uint64_t step) {
  const std::uint64_t epochs_done = (step - 1) / options.steps_per_epoch;
  return std::pow(options.gamma, static_cast<double>(epochs_done / options.epochs_per_drop));
}

}  // namespace

double learning_rate(const LrScheduleOptions& options, std::uint64_t step) {
  GSPLIT_CHECK(step >= 1 && options.steps_per_epoch >= 1 && options.epochs_per_drop >= 1);
  double factor = 1;
  if (options.name == "cosine") factor = cosine(options, step);
  if (options.name == "step") factor = drops(options, step);
  if (step < options.warmup_steps) {
    factor *= static_cast<double>(step) / static_cast<double>(options.warmup_steps);
  }
  return options.base * factor;
}

}  // namespace gsplit
