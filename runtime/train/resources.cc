#include "runtime/train/resources.h"

#include <hwloc.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace gsplit {

int num_numa_nodes() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return 1;
  const int nodes = hwloc_topology_load(topology) == 0
                        ? hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE)
                        : 1;
  hwloc_topology_destroy(topology);
  return std::max(nodes, 1);
}

namespace {

/// Cores for each of `local_workers`, rounded down: those that this
/// process may run on, divided among the workers unless the launcher has bound each to its own.
int cores_per_worker(int local_workers) {
  const int online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int cores =
      sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : online;
  return cores < online ? cores : cores / std::max(local_workers, 1);
}

}  // namespace

int threads_per_worker(int asked, int local_workers) {
  return asked > 0 ? asked : std::max(1, cores_per_worker(local_workers));
}

int spare_threads(int asked, int local_workers) {
  return std::max(0, cores_per_worker(local_workers) - threads_per_worker(asked, local_workers));
}

std::uint64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

}  // namespace gsplit
