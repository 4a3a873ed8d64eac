// The coordinator's side of Attend: a call per worker that is held open until the worker has
// finished or the job has failed, so that a process that dies is missed at once, whatever it did.
// None holds a thread. Only .cc files include this.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <mutex>
#include <set>

#include "gsplit/v1/coordinator.pb.h"
#include "runtime/control/job_state.h"

namespace gsplit {

class Attendance;

/// All open calls. Thread-safe. REQUIRES: outlives the server, whose end is the end of the calls.
class Attendances {
 public:
  explicit Attendances(JobState& job) : job_(job) {}
  /// The reactor of a new call; it deletes itself when gRPC is done with it.
  grpc::ServerUnaryReactor* start(grpc::CallbackServerContext* context,
                                  const v1::AttendRequest& request);
  /// Answers the calls of those who have finished, and all of them once the job has failed.
  void wake();
  /// Ends every call, those to come too.
  void close();

 private:
  friend class Attendance;
  void remove(Attendance* attendance);

  JobState& job_;
  std::mutex mutex_;
  std::set<Attendance*> open_;
  bool closing_ = false;
};

}  // namespace gsplit
