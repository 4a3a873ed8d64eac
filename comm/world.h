// Who we are in the job, and the two ways to be several: ranks of a launcher (MPI) or rank threads
// of one process.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace gsplit {

/// True when a launcher (mpirun, even with one rank; an srun step of several tasks) started this
/// process as a rank, judged by its environment; MPI is not touched. The shell of an sbatch job is
/// no launcher.
bool under_launcher();
/// Rank by the launcher's environment, 0 without one; for use before MPI is initialised.
int launcher_rank();

/// Name and version of the MPI library, on one line; MPI need not be initialised.
std::string mpi_library();

/// Initialises MPI for its lifetime, unless the program has done so: then with
/// MPI_THREAD_SERIALIZED where communicators are duplicated. At most one at a time; made and
/// destroyed by the main thread. Where the system allows it, the process gets SIGTERM when its
/// launcher dies.
///
/// The destructor finalises MPI together with the peers. After a failure it does not: the process
/// is to end by _exit(). Destroyed by an exception, it tells the peers by abort().
class MpiWorld {
 public:
  /// Throws UsageError if MPI does not know the launcher, CommunicationError if MPI fails.
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
/// They share state that lives until the last one is gone. Peers that wait for one that is gone
/// throw.
std::vector<std::unique_ptr<Communicator>> make_local_communicators(
    int size, std::chrono::milliseconds deadline);

/// Runs body(communicator) on `size` threads and joins them; a communicator is destroyed when its
/// body ends. When a body throws, its communicator is aborted, so that the others end too; the
/// first exception in time is rethrown.
void run_local_ranks(int size, std::chrono::milliseconds deadline,
                     const std::function<void(Communicator&)>& body);

}  // namespace gsplit
