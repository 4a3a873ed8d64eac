// The coordinator's server: gRPC in rank 0's process. See proto/gsplit/v1/coordinator.proto for the
// calls.
//
// This header names no generated type: only the .cc files of this folder see protobuf and gRPC.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/control/contact_card.h"
#include "runtime/control/credentials.h"
#include "runtime/control/planner.h"
#include "runtime/control/progress.h"

namespace gsplit {

/// A worker's end by a failure, as the coordinator tells it to the others.
struct WorkerFailure {
  int rank = 0;
  std::string host;
  Phase phase = Phase::kStarting;
  std::uint64_t step = 0;
  std::string message;
  int exit_code = 3;
  /// The rank of a failure that is no worker's: of a coordinator in a process of its own.
  static constexpr int kNobody = -1;
  /// "rank 2 on host-b failed in all-reduce at step 17: ..."; the message alone for exit code 2 and
  /// for nobody's failure.
  std::string describe() const;
};

struct CoordinatorOptions {
  int world_size = 1;
  std::string bind_address = "127.0.0.1:0";   ///< port 0: any free one
  std::chrono::milliseconds deadline{30000};  ///< of silence, after which a worker counts as lost
  /// The addresses, without a port, at which workers are to look for it, the likeliest first; none:
  /// that of bind_address.
  std::vector<std::string> hosts;
  /// Nothing: one is made for this coordinator alone.
  std::optional<Identity> identity;
  /// In a process of its own: it waits for the first worker as long as it takes, and rank 0 opens
  /// the job by a call.
  bool apart = false;
};

/// What the workers are told once the data is ready.
struct Job {
  std::shared_ptr<const Planner> planner;
  std::string dataset_fingerprint;
};

struct JobSnapshot;  // job_state.h

/// Serves from construction to destruction, on threads of gRPC, by TLS and only those who have the
/// token, on loopback too. Leaves a ContactCard for `gsplit status` on this host. Thread-safe.
class Coordinator {
 public:
  /// Throws UsageError for an address that is none, SystemError when it cannot be bound.
  explicit Coordinator(const CoordinatorOptions& options);
  ~Coordinator();
  std::string address() const;              ///< "127.0.0.1:43127"
  const Contact& contact() const;           ///< for workers: secret
  const std::string& card_problem() const;  ///< ContactCard::problem()
  /// Connections that were put out because nobody showed the token there.
  std::uint64_t num_put_out() const;
  /// Opens the job: from now on Join succeeds when all workers are there. Once.
  void open(Job job);
  /// Marks the job failed (by a worker or from outside); all workers learn it. The first failure
  /// stands.
  void fail(const WorkerFailure& failure);
  std::optional<WorkerFailure> failure() const;
  /// The workers as last heard of.
  JobSnapshot snapshot() const;
  /// After fail(): returns when every worker has been told, or has left, or `patience` is over; so
  /// that those who ask by heartbeat hear what happened and not that the coordinator is gone.
  void linger_after_failure(std::chrono::milliseconds patience) const;
  /// Every worker's plans end after the same step, at most the workers' prefetch away.
  /// `reason`: who asked for it; the first one stands.
  void request_stop(const std::string& reason);
  /// Empty while nobody has asked.
  std::string stop_reason() const;
  /// Whether any worker has been heard of, and whether all have finished.
  bool has_begun() const;
  bool has_finished() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gsplit
