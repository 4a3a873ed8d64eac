// The learning rate of a step: a pure function of the step, so that a resumed run goes on as if it
// had never stopped.
#pragma once

#include <cstdint>
#include <string>

namespace gsplit {

struct LrScheduleOptions {
  std::string name = "constant";  ///< constant, cosine or step
  double base = 0.003;
  std::uint64_t warmup_steps = 0;     ///< linear from base / warmup_steps to base
  std::uint64_t steps_per_epoch = 1;  ///< step
  std::uint32_t epochs_per_drop = 1;  ///< step: epochs between two drops
  double gamma = 0.1;                 ///< step: factor of a drop
  std::uint64_t total_steps = 1;  ///< cosine: where the rate would reach 0, one step after the end
};

/// Rate of `step`, from 1.
///   constant  base
///   step      base * gamma^floor((epoch - 1) / epochs_per_drop)
///   cosine    base * (1 + cos(pi * x)) / 2, x = steps since the warm-up / steps after the warm-up
///             (I. Loshchilov and F. Hutter, arXiv 1608.03983, without restarts)
/// each times step / warmup_steps where step < warmup_steps.
double learning_rate(const LrScheduleOptions& options, std::uint64_t step);

}  // namespace gsplit
