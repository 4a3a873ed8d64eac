// A worker's side of the control plane. One per worker; made, used and destroyed by the worker's
// thread. From construction on it owns a thread that beats and one that attends (the held call by
// which either side misses the other at once), and a prefetch thread per plan stream.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/control/contact_card.h"
#include "runtime/control/coordinator.h"
#include "runtime/control/planner.h"
#include "runtime/control/progress.h"

namespace gsplit {

struct ClientOptions {
  Contact contact;
  int rank = 0;
  int world_size = 1;
  std::string host;
  std::string device;
  std::chrono::milliseconds deadline{30000};
  /// Also the age at most of the phase and step by which a dead worker is named.
  std::chrono::milliseconds heartbeat_interval{200};
  int prefetch = 4;    ///< step plans held ahead
  bool apart = false;  ///< the coordinator is a process of its own, and not rank 0's
  /// Called from a thread of the client. Once it returns a text, why, the coordinator is asked to
  /// stop the job.
  std::function<std::string()> stop_reason;
  /// Called at most once, from a thread of the client, when it learns that the job has failed.
  std::function<void(const WorkerFailure&)> on_failure;
};

/// What a coordinator that is apart makes plans from.
struct JobData {
  std::span<const GlobalId> train_seeds;
  std::vector<std::uint64_t> bounds;
  PlannerOptions options;
  std::string dataset_fingerprint;
};

struct JoinResult {
  std::uint64_t total_steps = 0;
  std::uint64_t steps_per_epoch = 0;
};

/// Plans in order of steps, read ahead by a thread of its own.
class PlanStream {
 public:
  virtual ~PlanStream() = default;
  /// The next plan, or nothing after the last step. Throws SystemError when the coordinator is
  /// silent for the deadline or gone, and the job's failure when there is one.
  virtual std::optional<StepPlan> next() = 0;
  /// Seconds that next() has spent waiting so far.
  virtual double seconds_waited() const = 0;
};

class CoordinatorClient {
 public:
  /// `progress` is read by the heartbeat thread and must outlive this.
  CoordinatorClient(const ClientOptions& options, const Progress& progress);
  ~CoordinatorClient();

  /// Rank 0, to a coordinator that is apart. Throws Error when it is refused, the job fails or the
  /// coordinator is silent for the deadline.
  void open(const JobData& data);
  /// Waits until the job is open and all workers are there: as long as the coordinator answers,
  /// however long the preparation takes. Throws Error when the coordinator refuses (other version
  /// or data), the job fails, or the coordinator is silent for the deadline.
  JoinResult join(const std::string& version, const std::string& dataset_fingerprint);
  std::unique_ptr<PlanStream> stream_plans(std::uint64_t first_step);

  /// What the coordinator has told, or its death.
  bool stop_requested() const;
  std::string stop_reason() const;  ///< of a stop that the coordinator has told
  std::optional<WorkerFailure> failure() const;

  /// Best effort, within a second; never throw. That of a loss is for a worker that finds another
  /// one missing: the coordinator knows where that one stood, and which it is where only that is
  /// known that one did not come to an exchange between GPUs.
  void report_failure(const std::string& message, int exit_code) noexcept;
  void report_loss(int rank, const std::string& how) noexcept;
  void report_missing(const std::string& how) noexcept;
  /// Best effort within the deadline; never throws. Failures are no longer listened for.
  void report_finished() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// For `gsplit status` and `gsplit stop`: text for a terminal, or one JSON object. Throw
/// SystemError when nobody answers, UsageError when the token is not taken.
std::string query_status(const Contact& contact, bool json);
std::string request_stop(const Contact& contact);
/// The same of a coordinator whose credentials this host knows: find_contact().
std::string query_status(const std::string& address, bool json);
std::string request_stop(const std::string& address);

}  // namespace gsplit
