// A job that rank 0 describes to a coordinator in a process of its own, piece by piece. Only .cc
// files of this folder include this.
#pragma once

#include <grpcpp/support/status.h>

#include <cstdint>
#include <mutex>
#include <vector>

#include "gsplit/v1/coordinator.pb.h"
#include "kernels/base/ids.h"
#include "runtime/control/job_state.h"

namespace gsplit {

/// Thread-safe.
class JobDraft {
 public:
  explicit JobDraft(JobState& job) : job_(job) {}
  /// Checks and keeps a piece; the last one opens the job. The same piece again is no error, since
  /// a call may have been answered unheard.
  grpc::Status add(const v1::OpenRequest& request);

 private:
  grpc::Status complete(const v1::OpenRequest& request);

  JobState& job_;
  std::mutex mutex_;
  std::vector<GlobalId> seeds_;
  bool opened_ = false;
};

}  // namespace gsplit
