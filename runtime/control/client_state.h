// What a worker's client knows of the job, shared by its heartbeat thread, its plan stream and the
// worker.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>

#include "runtime/control/client.h"
#include "runtime/control/job_state.h"

namespace gsplit {

/// Thread-safe.
class ClientState {
 public:
  ClientState(const ClientOptions& options, const Progress& progress)
      : options_(options), progress_(progress) {}

  const ClientOptions& options() const { return options_; }
  const Progress& progress() const { return progress_; }

  /// The first failure stands; none counts after set_finished().
  void set_failure(const WorkerFailure& failure);
  void set_finished();
  /// Where rank 0 stands, as the coordinator says.
  void set_coordinator_place(const Place& place);
  void set_stop_requested(const std::string& reason);
  std::optional<WorkerFailure> failure() const;
  bool stop_requested() const;
  std::string stop_reason() const;
  /// This worker's own failure, where it stands now.
  WorkerFailure own_failure(const std::string& message, int exit_code) const;
  /// Rank 0's, in whose process the coordinator is, or nobody's where it is apart: "is gone (...)".
  WorkerFailure coordinator_loss(const std::string& how) const;
  /// Throws the job's failure if there is one.
  void check() const;

  /// For waits of the client's threads: signalled when anything of the client changes.
  mutable std::mutex mutex;
  std::condition_variable changed;
  /// As failure() and check(). REQUIRES: `mutex` held.
  bool failed_locked() const { return failure_.has_value(); }
  void check_locked() const;

 private:
  const ClientOptions options_;
  const Progress& progress_;
  std::optional<WorkerFailure> failure_;
  Place coordinator_place_;
  bool stop_requested_ = false;
  std::string stop_reason_;
  bool finished_ = false;
};

}  // namespace gsplit
