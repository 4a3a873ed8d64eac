// What the user sees of a run on stdout: on a terminal one line that is rewritten, else plain lines
// now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "kernels/base/log.h"

namespace gsplit {

/// What there is to do.
struct ProgressRange {
  std::uint64_t total_steps = 0;
  std::uint64_t first_step = 1;  ///< a resumed run begins later
  std::uint32_t epochs = 0;
};

class ProgressLine {
 public:
  ProgressLine(const ProgressRange& range, bool terminal, const Log& log);
  /// After each step: shows it when enough time has passed since the last one.
  void step(std::uint64_t step, std::uint32_t epoch, double loss, std::uint64_t seeds);
  /// A line that stays, such as an epoch's summary.
  void lasting(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;

  std::string text(std::uint64_t step, std::uint32_t epoch, double loss) const;

  ProgressRange range_;
  bool terminal_;
  const Log& log_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
  std::uint64_t seeds_ = 0;
  bool drawn_ = false;
};

}  // namespace gsplit
