// The trace of a run: which steps are recorded, and how the spans of all workers come to rank 0,
// which writes them. All workers sample the same steps, so collecting them is a collective.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "kernels/base/error.h"
#include "kernels/base/log.h"
#include "kernels/base/trace.h"
#include "runtime/train/trace_file.h"
#include "runtime/train/trace_steps.h"

namespace gsplit {

/// Steps of this process: [first, last].
struct StepRange {
  std::uint64_t first = 1;
  std::uint64_t last = 0;
};

/// Of one worker; belongs to its thread.
class RunTrace {
 public:
  /// `file`: written by rank 0. References must outlive it. Collective.
  RunTrace(const TraceSteps& which, StepRange steps, Tracer& tracer, Communicator& communicator,
           const std::filesystem::path& file, const Log& log);

  /// Sends what has been recorded since the last call to rank 0. Collective; does nothing, and
  /// exchanges nothing, where no step has been recorded since.
  void collect();
  /// The last call. Collective.
  void finish();

 private:
  friend class TracedStep;

  /// A run goes on without its trace.
  void give_up(const SystemError& error);

  const TraceSteps which_;
  const StepRange steps_;
  Tracer& tracer_;
  Communicator& communicator_;
  const Log& log_;
  std::unique_ptr<TraceFile> file_;    // rank 0
  std::vector<std::int64_t> origins_;  // by rank
  bool uncollected_ = false;
};

/// One step, recorded during this object's lifetime where it is among those that are. Collects what
/// the steps before have left: collective.
class TracedStep {
 public:
  TracedStep(RunTrace& trace, std::uint64_t step);
  ~TracedStep() { trace_.tracer_.stop(); }
  TracedStep(const TracedStep&) = delete;
  TracedStep& operator=(const TracedStep&) = delete;

 private:
  RunTrace& trace_;
};

}  // namespace gsplit
