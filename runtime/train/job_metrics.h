// The job's figures for Prometheus, over HTTP from rank 0's process: GET /metrics. docs/seeing.md
// lists them. Reads only: nothing that comes in over HTTP changes the run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/control/coordinator.h"
#include "runtime/control/planner.h"
#include "runtime/train/step_report.h"

namespace gsplit {

/// Where to listen: "9464" is port 9464 on loopback, "0.0.0.0:9464" every address of the host, and
/// port 0 any free one.
struct MetricsAddress {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;

  /// UsageError naming --metrics-port where `text` is neither.
  static MetricsAddress parse(const std::string& text);
  bool is_loopback() const;
};

/// Serves from construction to destruction, on threads of its own. The note_... calls belong to the
/// training thread.
class JobMetrics {
 public:
  /// `coordinator` must outlive it. Throws UsageError where it cannot listen there.
  JobMetrics(const MetricsAddress& where, const Coordinator& coordinator);
  ~JobMetrics();
  JobMetrics(const JobMetrics&) = delete;
  JobMetrics& operator=(const JobMetrics&) = delete;

  /// "127.0.0.1:9464".
  const std::string& address() const;

  /// `total`: over all workers.
  void note_step(const StepPlan& plan, const StepReport& total);
  void note_validation(double accuracy);
  void note_checkpoint(std::uint64_t step);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gsplit
