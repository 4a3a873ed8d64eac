// A line of progress every few seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "kernels/base/log.h"

namespace gsplit {

/// Counts from its making. Borrows the log. Not thread-safe.
class Progress {
 public:
  /// `unit`: what is counted, in the plural.
  Progress(const Log& log, std::string unit);

  /// "read 1000000 UNIT, 45 %, 18.3 M UNIT/s", when the last line is five seconds old. `share`: of
  /// the input, in [0, 1].
  void report(std::uint64_t count, double share);
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;
  const Log& log_;
  std::string unit_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

}  // namespace gsplit
