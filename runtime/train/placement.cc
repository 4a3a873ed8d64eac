#include "runtime/train/placement.h"

#include <fmt/format.h>
#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <climits>
#include <iterator>
#include <set>

#include "kernels/base/error.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

/// hwloc's set of processors.
class Bitmap {
 public:
  Bitmap() : bits_(hwloc_bitmap_alloc()) {}
  explicit Bitmap(std::span<const int> cores) : Bitmap() {
    for (const int core : cores) hwloc_bitmap_set(bits_, static_cast<unsigned>(core));
  }
  ~Bitmap() { hwloc_bitmap_free(bits_); }
  Bitmap(const Bitmap&) = delete;
  Bitmap& operator=(const Bitmap&) = delete;
  hwloc_bitmap_t get() { return bits_; }

 private:
  hwloc_bitmap_t bits_;
};

Cores cores_in(hwloc_const_bitmap_t bits) {
  Cores cores;
  for (int core = hwloc_bitmap_first(bits); core >= 0; core = hwloc_bitmap_next(bits, core)) {
    cores.push_back(core);
  }
  return cores;
}

void bind_this_thread(std::span<const int> cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) {
    if (core < CPU_SETSIZE) CPU_SET(core, &set);
  }
  if (CPU_COUNT(&set) > 0) sched_setaffinity(0, sizeof(set), &set);
}

/// Threads that OpenMP keeps for the calling one run the region too.
void bind_team(std::span<const int> cores, int team) {
#pragma omp parallel num_threads(team)
  bind_this_thread(cores);
}

}  // namespace

struct HostTopology::State {
  State() { GSPLIT_CHECK(hwloc_topology_init(&topology) == 0); }
  ~State() { hwloc_topology_destroy(topology); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  hwloc_topology_t topology = nullptr;
};

HostTopology HostTopology::of_this_host() {
  auto state = std::make_shared<State>();
  GSPLIT_CHECK(hwloc_topology_load(state->topology) == 0);
  return HostTopology(std::move(state));
}

HostTopology HostTopology::synthetic(const std::string& description) {
  auto state = std::make_shared<State>();
  GSPLIT_CHECK(hwloc_topology_set_synthetic(state->topology, description.c_str()) == 0);
  GSPLIT_CHECK(hwloc_topology_load(state->topology) == 0);
  return HostTopology(std::move(state));
}

Cores HostTopology::cores() const {
  return cores_in(hwloc_topology_get_topology_cpuset(state_->topology));
}

int HostTopology::num_numa_nodes() const {
  // Two kinds of memory beside the same cores are no two places for workers, nor is memory alone.
  std::set<Cores> places;
  for (hwloc_obj_t node = nullptr; (node = hwloc_get_next_obj_by_type(
                                        state_->topology, HWLOC_OBJ_NUMANODE, node)) != nullptr;) {
    if (!hwloc_bitmap_iszero(node->cpuset)) places.insert(cores_in(node->cpuset));
  }
  return std::max(static_cast<int>(places.size()), 1);
}

void HostTopology::restrict_to(std::span<const int> cores) {
  Bitmap wanted(cores);
  auto copy = std::make_shared<State>();
  hwloc_topology_destroy(copy->topology);
  GSPLIT_CHECK(hwloc_topology_dup(&copy->topology, state_->topology) == 0);
  GSPLIT_CHECK(hwloc_topology_restrict(copy->topology, wanted.get(),
                                       HWLOC_RESTRICT_FLAG_REMOVE_CPULESS) == 0);
  state_ = std::move(copy);
}

std::vector<Cores> HostTopology::divide(int workers) const {
  GSPLIT_CHECK(workers >= 1);
  hwloc_obj_t root = hwloc_get_root_obj(state_->topology);
  std::vector<hwloc_bitmap_t> sets(static_cast<std::size_t>(workers), nullptr);
  GSPLIT_CHECK(hwloc_distrib(state_->topology, &root, 1, sets.data(),
                             static_cast<unsigned>(workers), INT_MAX, 0) == 0);
  std::vector<Cores> shares;
  for (const hwloc_bitmap_t set : sets) {
    shares.push_back(cores_in(set));
    hwloc_bitmap_free(set);
  }
  return shares;
}

Binding binding_from_name(const std::string& name) {
  if (name == "auto") return Binding::kAuto;
  if (name == "none") return Binding::kNone;
  GSPLIT_CHECK(name == "cores");
  return Binding::kCores;
}

Cores place_worker(const HostTopology& host, std::span<const int> allowed,
                   const PlacementOptions& options) {
  HostTopology shared = host;
  const Cores all = host.cores();
  Cores usable;
  std::set_intersection(all.begin(), all.end(), allowed.begin(), allowed.end(),
                        std::back_inserter(usable));
  if (options.binding == Binding::kNone || usable.empty() || options.workers == 1) return {};
  if (usable.size() < all.size()) shared.restrict_to(usable);
  if (options.binding == Binding::kAuto && shared.num_numa_nodes() == 1) return {};
  std::vector<Cores> shares = shared.divide(options.workers);
  const auto fewest = std::min_element(
      shares.begin(), shares.end(),
      [](const Cores& one, const Cores& other) { return one.size() < other.size(); });
  if (options.binding == Binding::kAuto &&
      fewest->size() < static_cast<std::size_t>(options.threads)) {
    return {};
  }
  return std::move(shares[static_cast<std::size_t>(options.index)]);
}

namespace {

WorkerPlace place_in(std::span<const int> allowed, WorkerPlace place, PlacementOptions options) {
  place.cores = static_cast<int>(allowed.size()) / options.workers;
  if (options.threads == 0) options.threads = std::max(place.cores, 1);
  if (options.binding != Binding::kNone) {
    place.bound_to = place_worker(HostTopology::of_this_host(), allowed, options);
  }
  return place;
}

}  // namespace

WorkerPlace place_of_thread(int rank, int workers, Binding binding, int threads) {
  return place_in(allowed_cores(), {.local_rank = rank, .local_workers = workers},
                  {.binding = binding, .index = rank, .workers = workers, .threads = threads});
}

WorkerPlace place_of_process(int local_rank, int local_workers, Binding binding, int threads,
                             Communicator& communicator) {
  const Cores allowed = allowed_cores();
  const std::string mine = host_name() + " " + describe(allowed);
  PlacementOptions options{.binding = binding, .workers = 0, .threads = threads};
  const auto all = communicator.all_gather_v(std::as_bytes(std::span(mine)));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank] != all[static_cast<std::size_t>(communicator.rank())]) continue;
    ++options.workers;
    if (rank < static_cast<std::size_t>(communicator.rank())) ++options.index;
  }
  return place_in(allowed, {.local_rank = local_rank, .local_workers = local_workers}, options);
}

std::string describe(std::span<const int> cores) {
  std::string text;
  for (std::size_t i = 0, end = 0; i < cores.size(); i = end) {
    for (end = i + 1; end < cores.size() && cores[end] == cores[end - 1] + 1;) ++end;
    if (!text.empty()) text += ",";
    text += fmt::format("{}", cores[i]);
    if (end > i + 1) text += fmt::format("-{}", cores[end - 1]);
  }
  return text;
}

BoundThreads::BoundThreads(std::span<const int> cores, int team)
    : before_(cores.empty() ? Cores{} : allowed_cores()), team_(team) {
  if (!before_.empty()) bind_team(cores, team_);
}

BoundThreads::~BoundThreads() {
  if (!before_.empty()) bind_team(before_, team_);
}

Cores allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  Cores cores;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

}  // namespace gsplit
