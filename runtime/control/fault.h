// Faults on request, for the tests of what happens when a worker or its launcher dies: the one hook
// stands where phases are entered (PhaseScope) and raises real signals.
//
//   GSPLIT_FAULT="rank=1,phase=sampling,step=3,signal=KILL"
//
// Several, of different ranks, are separated by semicolons.
//
// rank, phase (as `gsplit status` prints it), step: when to strike, once, at the first such phase
//   from the given step on; phase "starting" is the worker's first one.
// signal: KILL, STOP, TERM, USR1, INT; or exit, which is _exit(1).
// target: self (default), or parent, the launcher.
// after: seconds to stay in the phase before, so that a heartbeat tells of it; 0 by default.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace gsplit {

enum class Phase : std::uint8_t;

class Fault {
 public:
  /// Of this worker by the environment; nullptr normally. Throws UsageError for what it cannot
  /// read.
  static std::unique_ptr<Fault> from_environment(int rank);
  /// The worker enters a phase. Thread-compatible.
  void enter(Phase phase, std::uint64_t step);

 private:
  static Fault parse(const std::string& text);
  void set(const std::string& name, const std::string& value);
  void strike() const;

  int rank_ = 0;
  std::string phase_;
  std::uint64_t step_ = 0;
  std::string signal_;
  bool at_parent_ = false;
  std::chrono::duration<double> after_{0};
  bool struck_ = false;
};

}  // namespace gsplit
