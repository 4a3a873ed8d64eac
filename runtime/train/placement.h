// Which cores of a host each of its workers gets, by how they share memory and caches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace gsplit {

/// Logical processors by the system's numbers, ascending.
using Cores = std::vector<int>;

/// The cores of a host that this job may use, as hwloc sees them.
class HostTopology {
 public:
  /// This host; without what a control group forbids.
  static HostTopology of_this_host();
  /// One that hwloc describes in a line, as "pack:2 [numa] l3:2 core:4 pu:1"; for tests.
  static HostTopology synthetic(const std::string& description);

  Cores cores() const;
  int num_numa_nodes() const;  ///< that have cores of their own; at least 1
  /// Leaves `cores` alone. REQUIRES: some of them are there.
  void restrict_to(std::span<const int> cores);

  /// Cores of each of `workers`. All cores are given, and none twice unless there are more workers
  /// than cores. With as many workers as NUMA nodes (last-level caches) or more, those of one
  /// worker belong to one of them, where these have equally many cores; so its memory, which it
  /// touches first, is near.
  std::vector<Cores> divide(int workers) const;

 private:
  struct State;
  explicit HostTopology(std::shared_ptr<State> state) : state_(std::move(state)) {}

  std::shared_ptr<State> state_;
};

enum class Binding : std::uint8_t {
  kAuto,   ///< where the host has several NUMA nodes
  kNone,   ///< the system schedules
  kCores,  ///< always
};

/// "auto", "none" or "cores". REQUIRES: one of them.
Binding binding_from_name(const std::string& name);

struct PlacementOptions {
  Binding binding = Binding::kAuto;
  int index = 0;    ///< of the worker among those that may run on the same cores
  int workers = 1;  ///< these
  int threads = 1;  ///< of each
};

/// The cores to bind a worker to; none where it is left alone: it has its cores for itself already,
/// or `binding` does not ask, or, with kAuto, the workers would get fewer cores than threads.
/// `allowed`: those on which the worker may run now.
Cores place_worker(const HostTopology& host, std::span<const int> allowed,
                   const PlacementOptions& options);

/// A worker among those of its host.
struct WorkerPlace {
  int local_rank = 0;
  int local_workers = 1;
  int cores = 1;  ///< that fall to it, rounded down; 0 where there are more workers than cores
  Cores bound_to = {};  ///< none: it is left alone
};

/// Ranks as threads of this process. `threads`: that each was asked to have; 0: as many as cores.
WorkerPlace place_of_thread(int rank, int workers, Binding binding, int threads);

/// Ranks as processes, which a launcher may have bound, each to cores of its own or several to the
/// same. Collective.
WorkerPlace place_of_process(int local_rank, int local_workers, Binding binding, int threads,
                             Communicator& communicator);

/// "0-3,8": ranges of neighbours.
std::string describe(std::span<const int> cores);

/// Binds the calling thread and the threads with which it computes in parallel (OpenMP keeps them
/// for it), for as long as this lives; threads that it starts meanwhile inherit the cores.
/// Destroyed by the same thread. What the system refuses is left as it was.
class BoundThreads {
 public:
  /// `team`: at least as many as the thread's parallel regions had or have. No cores: does nothing.
  BoundThreads(std::span<const int> cores, int team);
  ~BoundThreads();
  BoundThreads(const BoundThreads&) = delete;
  BoundThreads& operator=(const BoundThreads&) = delete;

 private:
  Cores before_;
  int team_;
};

/// Cores on which the calling thread may run.
Cores allowed_cores();
inline int num_allowed_cores() { return static_cast<int>(allowed_cores().size()); }

}  // namespace gsplit
