// How the workers of a run are divided into groups, each of which holds the whole graph among its
// members: all of them in one group (split parallelism), each alone (data parallelism), or groups
// in between (hybrid). Worker r owns part r % size of group r / size.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "runtime/nn/context.h"

namespace gsplit {

/// How device memory travels between the members of a group. Collective over them; the argument
/// must outlive the result.
using ConnectGroup = std::function<std::shared_ptr<DeviceCommunicator>(Communicator& group)>;

/// All workers, and how device memory travels between them.
struct AllWorkers {
  Communicator& communicator;
  DeviceCommunicator& traffic;
  ConnectGroup connect;
  std::chrono::milliseconds deadline;
};

/// Of one worker; belongs to its thread.
class WorkerGroups {
 public:
  /// `size`: of a group, a divisor of the number of workers. References must outlive it.
  /// Collective.
  WorkerGroups(const AllWorkers& all, int size, Progress& progress);
  ~WorkerGroups();
  WorkerGroups(const WorkerGroups&) = delete;
  WorkerGroups& operator=(const WorkerGroups&) = delete;

  /// The members of this worker's group.
  Communicator& owners() const { return owners_ ? *owners_ : all_.communicator; }
  DeviceCommunicator& owner_traffic() const {
    return owner_traffic_ ? *owner_traffic_ : all_.traffic;
  }
  Replicas replicas() const;

 private:
  /// Tells `progress` to which exchanges of the host this worker has come.
  void count_exchanges(Progress& progress);

  AllWorkers all_;
  int size_;
  std::unique_ptr<Communicator> owners_;  // null: all
  std::shared_ptr<DeviceCommunicator> owner_traffic_;
  std::unique_ptr<Communicator> same_part_;  // null: all, or this worker alone
  std::shared_ptr<DeviceCommunicator> same_part_traffic_;
};

}  // namespace gsplit
