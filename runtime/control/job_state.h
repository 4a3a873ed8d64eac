// What the coordinator knows of the job: who is there, how far they are, whether it has failed or
// is to stop. No network here: the services of coordinator.cc and the streams of plan_sender.cc put
// what they hear in and answer with what comes out. Thread-safe; no call blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/control/coordinator.h"
#include "runtime/control/rate_window.h"

namespace gsplit {

/// What a worker says of itself when it joins.
struct JoinClaim {
  std::uint64_t rank = 0;
  std::uint64_t world_size = 0;
  std::uint64_t instance = 0;
  std::string version;
  std::string host;
  std::string device;
  std::string dataset_fingerprint;
};

struct JoinAnswer {
  std::string refusal;  ///< one line; empty unless the worker is refused
  bool ready = false;
  std::string waiting_for;  ///< while not ready
  std::uint64_t total_steps = 0;
  std::uint64_t steps_per_epoch = 0;
};

struct Beat {
  std::uint64_t rank = 0;
  std::uint64_t instance = 0;
  std::string host;
  Phase phase = Phase::kStarting;
  std::uint64_t step = 0;
  std::uint64_t seeds_done = 0;
  std::uint64_t rss_bytes = 0;
  std::uint64_t exchanges = 0;
  double busy_s = 0;
  double core_wait_s = 0;
  std::uint64_t device_bytes = 0;
};

/// Where a worker stands, or stood when it was last heard of.
struct Place {
  std::string host;
  Phase phase = Phase::kStarting;
  std::uint64_t step = 0;
};

/// A worker as last heard of.
struct WorkerRecord {
  int rank = 0;
  std::uint64_t instance = 0;
  std::string host;
  std::string device;
  Phase phase = Phase::kStarting;
  std::uint64_t step = 0;
  std::uint64_t seeds_done = 0;
  std::uint64_t rss_bytes = 0;
  std::uint64_t device_bytes = 0;
  std::uint64_t exchanges = 0;
  std::uint64_t steps_behind = 0;  ///< the foremost of the others, when it was last heard of
  RateWindow seeds_rate;
  RateWindow busy_rate;       ///< of Progress::busy_s: the share of time
  RateWindow core_wait_rate;  ///< of Beat::core_wait_s: the share of time
  bool contacted = false;
  bool joined = false;
  bool finished = false;
  bool knows_failure = false;  ///< has been told, or is its source
  std::chrono::steady_clock::time_point last_contact;
  std::chrono::steady_clock::time_point place_since;  ///< in this phase of this step
};

struct JobSnapshot {
  std::uint64_t total_steps = 0;  ///< 0 before the job is open
  bool stop_requested = false;
  std::optional<WorkerFailure> failure;
  std::vector<WorkerRecord> workers;  ///< those heard of, by rank
};

/// What a plan stream may do next.
enum class Turn { kWait, kSend, kEnd, kEndStopped };

class JobState {
 public:
  using Clock = std::chrono::steady_clock;

  /// `changed` is called, without a lock held, after the job has opened, failed or been told to
  /// stop, or a worker has finished.
  JobState(const CoordinatorOptions& options, std::function<void()> changed);

  /// False for a stranger, as for heartbeat().
  bool attend(std::uint64_t rank, std::uint64_t instance, const std::string& host);
  /// A refusal fails the job too.
  JoinAnswer join(const JoinClaim& claim);
  /// Beats of strangers (rank outside of the job or held by another instance) are ignored: their
  /// Join says why.
  void heartbeat(const Beat& beat);
  void finish(std::uint64_t rank);
  bool has_finished(std::uint64_t rank) const;
  void open(Job job);
  /// Without a host: of a worker that its messenger knows by rank alone, who stands where it was
  /// last heard of.
  void fail(const WorkerFailure& failure);
  /// The worker went away without a word. Nothing when it has finished.
  void lose(std::uint64_t rank, const std::string& how);
  /// A peer of `messenger` did not come, of whom it knows only what it did not do: the one that has
  /// come to the fewest exchanges. Where nobody has come to fewer than the messenger itself, the
  /// failure is the messenger's.
  void lose_the_last(std::uint64_t messenger, const std::string& how);
  /// Declares those lost that have been silent for the deadline, or for two of them from the
  /// beginning on; the time of the next look.
  Clock::time_point find_lost();
  /// The last step that any worker runs: the highest one that has been handed out. The first reason
  /// stands.
  std::uint64_t request_stop(const std::string& reason);

  /// Whether `step` may be sent to a worker whose credit ends with `through`; kSend records that it
  /// is. REQUIRES: the job is open.
  Turn take_turn(std::uint64_t step, std::uint64_t through);
  /// nullptr before the job is open.
  std::shared_ptr<const Planner> planner() const;
  std::optional<WorkerFailure> failure() const;
  /// Notes that the failure goes out to this worker now.
  void tell_failure(std::uint64_t rank);
  /// Whether every worker that still runs has been told; one that was never heard of does not know.
  bool everyone_knows_failure() const;
  bool stop_requested() const;
  std::string stop_reason() const;
  /// Whether a worker has been heard of.
  bool has_begun() const;
  bool everyone_has_finished() const;
  /// Whether rank 0 opens the job by a call.
  bool is_apart() const { return options_.apart; }
  /// Of rank 0, in whose process this is.
  Place coordinator_place() const;
  JobSnapshot snapshot() const;
  int world_size() const { return options_.world_size; }

 private:
  std::string refusal_of(const JoinClaim& claim) const;
  std::string missing_workers() const;
  bool anyone_contacted() const;
  WorkerRecord* record_of(std::uint64_t rank, std::uint64_t instance, const std::string& host);
  WorkerFailure loss_of(const WorkerRecord& worker, const std::string& how) const;
  bool set_failure(const WorkerFailure& failure);

  Clock::time_point start_ = Clock::now();  // where the coordinator is apart: the first contact
  const CoordinatorOptions options_;
  const std::function<void()> changed_;
  mutable std::mutex mutex_;
  std::optional<Job> job_;
  std::optional<WorkerFailure> failure_;
  std::optional<std::uint64_t> stop_after_;
  std::string stop_reason_;
  std::uint64_t last_sent_ = 0;
  std::vector<WorkerRecord> workers_;  // by rank
};

}  // namespace gsplit
