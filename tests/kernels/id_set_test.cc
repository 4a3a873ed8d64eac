// IdSet of the CPU against an ordered set.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "kernels/backend.h"

namespace gsplit {
namespace {

TEST(IdSet, EqualsAnOrderedSet) {
  std::mt19937_64 random(7);
  for (int threads : {1, 3}) {
    const auto backend = make_cpu_backend(threads);
    const auto stream = backend->memory().create_stream();
    constexpr std::uint64_t kUniverse = 1 << 20;
    const auto set = backend->sampling().make_id_set(kUniverse);
    const std::vector<GlobalRange> ranges{{0, 777}, {777, 777}, {777, 400000}, {400000, kUniverse}};
    for (int round = 0; round < 3; ++round) {  // clear() must leave nothing behind
      std::vector<GlobalId> ids;
      std::set<std::uint64_t> expected;
      for (int i = 0; i < 30000; ++i) {
        const std::uint64_t id = random() % (round == 1 ? 2000 : kUniverse);
        ids.push_back(GlobalId{id});
        expected.insert(id);
      }
      set->insert(ids, *stream);
      const auto counts = set->seal(ranges, *stream);
      for (std::size_t r = 0; r < ranges.size(); ++r) {
        std::vector<LocalId> members(counts[r]), in_range;
        set->members(ranges[r], members, *stream);
        for (auto id = expected.lower_bound(ranges[r].begin);
             id != expected.end() && *id < ranges[r].end; ++id) {
          in_range.push_back(LocalId{static_cast<std::uint32_t>(*id - ranges[r].begin)});
        }
        EXPECT_EQ(members, in_range);
      }
      set->clear(*stream);
    }
  }
}

}  // namespace
}  // namespace gsplit
