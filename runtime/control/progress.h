// Where a worker stands: written by its training thread, read by its heartbeat thread and by error
// messages.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>

#include "kernels/base/trace.h"
#include "runtime/control/fault.h"

namespace gsplit {

/// Mirrors Phase of coordinator.proto, value by value.
enum class Phase : std::uint8_t {
  kStarting = 0,
  kPartition = 1,
  kWaitingForPlan = 2,
  kSampling = 3,
  kLoading = 4,
  kExchange = 5,
  kCompute = 6,
  kAllReduce = 7,
  kEvaluation = 8,
  kCheckpoint = 9,
  kFinished = 10,
};

/// "sampling", "all-reduce", ... as error messages and `gsplit status` print it.
const char* name_of(Phase phase);

/// Thread-safe.
struct Progress {
  std::atomic<Phase> phase{Phase::kStarting};
  std::atomic<std::uint64_t> step{0};
  std::atomic<std::uint64_t> seeds_done{0};
  /// Come to: those of all workers from bit kExchangesOfAll on, below it those of groups since. All
  /// workers come to the same ones of all, so who has come to the fewest of these, then to the
  /// fewest since, is waited for. Counted where GPUs exchange, or groups do.
  std::atomic<std::uint64_t> exchanges{0};
  /// Seconds of steps in which the worker loaded and computed itself. Not those of sampling, whose
  /// exchanges wait for others.
  std::atomic<double> busy_s{0};
  std::atomic<std::uint64_t> device_bytes{0};  ///< that it holds of a GPU
  Tracer* tracer = nullptr;      ///< where phases are recorded; set before other threads read this
  std::unique_ptr<Fault> fault;  ///< for tests; of the training thread alone

  static constexpr int kExchangesOfAll = 32;
  void come_to_exchange_of_all() {
    exchanges = ((exchanges >> kExchangesOfAll) + 1) << kExchangesOfAll;
  }
  void come_to_exchange_of_group() { ++exchanges; }
};

/// Sets the phase for the lifetime of the scope, then restores the one before; not when an
/// exception ends the scope, so that the report of a failure names the phase it happened in. A span
/// of the trace, too.
class PhaseScope {
 public:
  PhaseScope(Progress& progress, Phase phase)
      : progress_(progress),
        previous_(progress.phase.exchange(phase)),
        span_(progress.tracer, name_of(phase)) {
    if (progress.fault) progress.fault->enter(phase, progress.step.load());
  }
  ~PhaseScope() {
    if (std::uncaught_exceptions() == exceptions_) progress_.phase.store(previous_);
  }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Progress& progress_;
  Phase previous_;
  TraceSpan span_;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace gsplit
