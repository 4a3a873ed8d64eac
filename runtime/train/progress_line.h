// What the user sees of a run on stdout: on a terminal one line that is rewritten, else plain lines
// now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "kernels/base/log.h"

namespace gsplit {

class ProgressLine {
 public:
  ProgressLine(std::uint64_t total_steps, std::uint32_t epochs, bool terminal, const Log& log);
  /// After each step: shows it when enough time has passed since the last one.
  void step(std::uint64_t step, std::uint32_t epoch, double loss, std::uint64_t seeds);
  /// A line that stays, such as an epoch's summary.
  void lasting(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;

  std::string text(std::uint64_t step, std::uint32_t epoch, double loss) const;

  std::uint64_t total_steps_;
  std::uint32_t epochs_;
  bool terminal_;
  const Log& log_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
  std::uint64_t seeds_ = 0;
  bool drawn_ = false;
};

}  // namespace gsplit
