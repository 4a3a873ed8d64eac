// The coordinator's side of StreamPlan: one stream per worker, none of which holds a thread (gRPC's
// callback API), so 64 workers cost no more threads than one. Only .cc files include this.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "gsplit/v1/coordinator.pb.h"
#include "runtime/control/job_state.h"

namespace gsplit {

/// The shares of the last few steps, so that a step is planned once for all workers, which are at
/// most their credit apart. Thread-safe.
class PlanCache {
 public:
  using Shares = std::shared_ptr<const std::vector<StepPlan>>;
  /// Computes and keeps the plan unless it is there; others who ask meanwhile wait for it.
  Shares get(const Planner& planner, std::uint64_t step);

 private:
  static constexpr std::size_t kCapacity = 16;
  std::mutex mutex_;
  std::map<std::uint64_t, Shares> plans_;
};

class PlanSender;

/// All open streams. Thread-safe. REQUIRES: outlives the server, whose end is the end of the
/// streams.
class PlanSenders {
 public:
  explicit PlanSenders(JobState& job) : job_(job) {}
  /// The reactor of a new stream; it deletes itself when gRPC is done with it.
  grpc::ServerBidiReactor<v1::PlanRequest, v1::PlanReply>* start();
  /// Lets every stream look again at the state of the job.
  void wake();
  /// Ends every stream, those to come too.
  void close();

 private:
  friend class PlanSender;
  void remove(PlanSender* sender);

  JobState& job_;
  PlanCache cache_;
  std::mutex mutex_;
  std::set<PlanSender*> open_;
  bool closing_ = false;
};

}  // namespace gsplit
