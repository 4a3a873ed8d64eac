// Placement on hosts that hwloc makes up: what must hold of any division, and who is left alone.
#include "runtime/train/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <thread>

#include "comm/world.h"

namespace gsplit {
namespace {

/// A host whose NUMA nodes, caches and cores are numbered one after the other.
struct Host {
  const char* description;
  int nodes;
  int caches;
  int processors;
};

const Host kHosts[] = {
    {"pack:1 [numa] l3:1 core:2 pu:1", 1, 1, 2},
    {"pack:2 [numa] l3:1 core:4 pu:2", 2, 2, 16},
    {"pack:1 [numa] l3:8 core:4 pu:1", 1, 8, 32},
    {"pack:2 [numa] l3:4 core:6 pu:1", 2, 8, 48},
    {"pack:2 group:4 [numa] l3:2 core:4 pu:2", 8, 16, 128},
};

Cores range(int begin, int end) {
  Cores cores(static_cast<std::size_t>(end - begin));
  std::iota(cores.begin(), cores.end(), begin);
  return cores;
}

/// How many of `pieces` equal ones of the host the cores touch.
std::size_t touched(const Cores& cores, const Host& host, int pieces) {
  std::set<int> found;
  for (const int core : cores) found.insert(core / (host.processors / pieces));
  return found.size();
}

TEST(HostTopology, DividesAllCoresWithinNodesAndCaches) {
  for (const Host& host : kHosts) {
    const HostTopology topology = HostTopology::synthetic(host.description);
    ASSERT_EQ(topology.cores(), range(0, host.processors)) << host.description;
    ASSERT_EQ(topology.num_numa_nodes(), host.nodes) << host.description;
    for (int workers = 1; workers <= host.processors; ++workers) {
      SCOPED_TRACE(std::string(host.description) + ", workers " + std::to_string(workers));
      Cores given;
      for (const Cores& cores : topology.divide(workers)) {
        ASSERT_FALSE(cores.empty());
        if (workers >= host.nodes) {
          ASSERT_EQ(touched(cores, host, host.nodes), 1u);
        }
        if (workers >= host.caches) {
          ASSERT_EQ(touched(cores, host, host.caches), 1u);
        }
        given.insert(given.end(), cores.begin(), cores.end());
      }
      std::sort(given.begin(), given.end());
      ASSERT_EQ(given, topology.cores());  // each once
    }
  }
}

TEST(HostTopology, DividesEvenlyWhereThatIsPossible) {
  for (const Host& host : kHosts) {
    const HostTopology topology = HostTopology::synthetic(host.description);
    for (int workers = 1; workers <= host.processors; ++workers) {
      const bool even = host.processors % workers == 0 &&
                        (workers % host.nodes == 0 || host.nodes % workers == 0) &&
                        (workers % host.caches == 0 || host.caches % workers == 0);
      if (!even) continue;
      for (const Cores& cores : topology.divide(workers)) {
        EXPECT_EQ(static_cast<int>(cores.size()), host.processors / workers)
            << host.description << ", workers " << workers;
      }
    }
  }
}

TEST(HostTopology, MoreWorkersThanCoresShareThem) {
  const std::vector<Cores> shares = HostTopology::synthetic("core:2 pu:1").divide(5);
  ASSERT_EQ(shares.size(), 5u);
  std::set<int> used;
  for (const Cores& cores : shares) {
    EXPECT_EQ(cores.size(), 1u);
    used.insert(cores.begin(), cores.end());
  }
  EXPECT_EQ(used, (std::set<int>{0, 1}));
}

TEST(HostTopology, RestrictedItKnowsOnlyWhatIsLeft) {
  const HostTopology whole = HostTopology::synthetic("pack:2 [numa] core:4 pu:1");
  HostTopology one_node = whole, both = whole;
  one_node.restrict_to(range(4, 8));
  EXPECT_EQ(one_node.num_numa_nodes(), 1);
  EXPECT_EQ(one_node.divide(2), (std::vector<Cores>{{4, 5}, {6, 7}}));
  both.restrict_to(Cores{2, 3, 6, 7});
  EXPECT_EQ(both.num_numa_nodes(), 2);
  EXPECT_EQ(both.divide(2), (std::vector<Cores>{{2, 3}, {6, 7}}));
  EXPECT_EQ(whole.cores(), range(0, 8));
}

class PlaceWorker : public testing::Test {
 protected:
  Cores place(const PlacementOptions& options, Cores allowed = range(0, 16)) const {
    return place_worker(host_, allowed, options);
  }

  HostTopology host_ = HostTopology::synthetic("pack:2 [numa] core:8 pu:1");
};

TEST_F(PlaceWorker, GivesEachItsNode) {
  EXPECT_EQ(place({.index = 0, .workers = 2, .threads = 8}), range(0, 8));
  EXPECT_EQ(place({.index = 1, .workers = 2, .threads = 8}), range(8, 16));
  EXPECT_EQ(place({.index = 2, .workers = 4, .threads = 1}), range(8, 12));
}

TEST_F(PlaceWorker, LeavesALauncherItsBinding) {
  for (const Binding binding : {Binding::kAuto, Binding::kCores, Binding::kNone}) {
    EXPECT_EQ(place({.binding = binding, .workers = 1}, range(0, 8)), Cores{});
  }
}

TEST_F(PlaceWorker, DividesWhatTheUserGaveTheProcess) {
  const Cores given{0, 1, 2, 3, 8, 9, 10, 11};
  EXPECT_EQ(place({.index = 1, .workers = 2, .threads = 4}, given), range(8, 12));
  // One node is left: auto has nothing to do.
  EXPECT_EQ(place({.index = 1, .workers = 2}, range(0, 4)), Cores{});
  EXPECT_EQ(place({.binding = Binding::kCores, .index = 1, .workers = 2}, range(0, 4)),
            range(2, 4));
}

TEST_F(PlaceWorker, AutoLeavesWorkersWithMoreThreadsThanCores) {
  PlacementOptions options{.index = 4, .workers = 5, .threads = 3};
  EXPECT_EQ(place(options),
            Cores{});  // a node has two workers, the other three of at least 2 cores
  options.threads = 2;
  EXPECT_FALSE(place(options).empty());
  options.threads = 3;
  options.binding = Binding::kCores;
  EXPECT_FALSE(place(options).empty());
  options.binding = Binding::kNone;
  EXPECT_EQ(place(options), Cores{});
}

TEST(Describe, JoinsNeighbours) {
  EXPECT_EQ(describe({}), "");
  EXPECT_EQ(describe(Cores{5}), "5");
  EXPECT_EQ(describe(Cores{0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
}

/// Cores of every thread of a parallel region.
std::set<Cores> cores_of_team(int team) {
  std::set<Cores> found;
#pragma omp parallel num_threads(team)
#pragma omp critical
  found.insert(allowed_cores());
  return found;
}

TEST(BoundThreads, BindsTheTeamAndGivesItBack) {
  std::thread([] {
    const Cores before = allowed_cores();
    const Cores last{before.back()};
    EXPECT_EQ(cores_of_team(4), std::set<Cores>{before});  // threads that are there already
    {
      const BoundThreads bound(last, 4);
      EXPECT_EQ(cores_of_team(4), std::set<Cores>{last});
      EXPECT_EQ(cores_of_team(2), std::set<Cores>{last});
      std::thread([&] { EXPECT_EQ(cores_of_team(3), std::set<Cores>{last}); }).join();
    }
    EXPECT_EQ(cores_of_team(4), std::set<Cores>{before});
    const BoundThreads unbound({}, 4);
    EXPECT_EQ(cores_of_team(4), std::set<Cores>{before});
  }).join();
}

// A launcher has bound rank 2 and left the others the same cores.
TEST(PlaceOfProcess, DividesCoresAmongThoseWhoShareThem) {
  const Cores all = allowed_cores();
  run_local_ranks(3, std::chrono::milliseconds{10'000}, [&](Communicator& comm) {
    const BoundThreads bound(comm.rank() == 2 ? Cores{all.back()} : Cores{}, 1);
    const WorkerPlace place = place_of_process(comm.rank(), 3, Binding::kNone, 0, comm);
    const auto shared = static_cast<int>(all.size()) / 2;
    if (all.size() > 1) {
      EXPECT_EQ(place.cores, comm.rank() == 2 ? 1 : shared);
    }
    EXPECT_EQ(place.bound_to, Cores{});
    const WorkerPlace own = place_of_process(comm.rank(), 3, Binding::kCores, 1, comm);
    if (comm.rank() == 2 && all.size() > 1) {
      EXPECT_EQ(own.bound_to, Cores{});
    }
    if (comm.rank() < 2) {
      EXPECT_GE(static_cast<int>(own.bound_to.size()), std::max(shared, 1));
    }
  });
}

}  // namespace
}  // namespace gsplit
