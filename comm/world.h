// Who we are in the job, and the two ways to be several: ranks of a launcher (MPI) or rank threads
// of one process.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace gsplit {

/// True when a launcher (mpirun, srun) started this process as one of several ranks, judged by its
/// environment; MPI is not touched.
bool under_launcher();
/// Rank by the launcher's environment, 0 without one; for use before MPI is initialised.
int launcher_rank();

/// Initialises MPI for its lifetime. At most one per process; made and destroyed by the main
/// thread, which also makes every call on its communicator.
class MpiWorld {
 public:
  explicit MpiWorld(std::chrono::milliseconds deadline);
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  Communicator& communicator();
  int local_rank() const;  ///< among the ranks of this host
  int local_size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Communicators of `size` rank threads of this process; element r belongs to the thread of rank r.
/// They share state that lives until the last one is gone.
std::vector<std::unique_ptr<Communicator>> make_local_communicators(
    int size, std::chrono::milliseconds deadline);

/// Runs body(communicator) on `size` threads and joins them. When a body throws, its communicator
/// is aborted, so that the others end too; the first exception in time is rethrown.
void run_local_ranks(int size, std::chrono::milliseconds deadline,
                     const std::function<void(Communicator&)>& body);

}  // namespace gsplit
