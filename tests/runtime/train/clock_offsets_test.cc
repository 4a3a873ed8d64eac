// Clocks of ranks that stand apart by as much as the test says.
#include "runtime/train/clock_offsets.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "comm/world.h"
#include "kernels/base/trace.h"

namespace gsplit {
namespace {

TEST(ClockOffsets, AreFoundWithinTheErrorThatTheyState) {
  std::mt19937_64 random(3);
  std::uniform_int_distribution<std::int64_t> some(-4'000'000'000'000'000, 4'000'000'000'000'000);
  for (int size = 1; size <= 5; ++size) {
    std::vector<std::int64_t> skew;
    std::vector<bool> apart;
    for (int rank = 0; rank < size; ++rank) {
      apart.push_back(rank > 0 && random() % 4 != 0);
      skew.push_back(apart.back() || rank == 0 ? some(random) : skew.front());
    }
    run_local_ranks(size, std::chrono::seconds(60), [&](Communicator& comm) {
      const auto own = static_cast<std::size_t>(comm.rank());
      const std::vector<ClockOffset> offsets =
          clock_offsets(comm, apart, [&] { return Tracer::now() + skew[own]; });
      ASSERT_EQ(offsets.size(), skew.size());
      for (std::size_t rank = 0; rank < skew.size(); ++rank) {
        const std::int64_t wrong = offsets[rank].behind_ns - (skew[0] - skew[rank]);
        EXPECT_LE(std::abs(wrong), offsets[rank].error_ns) << size << " ranks, " << rank;
        EXPECT_EQ(offsets[rank].error_ns > 0, apart[rank]);
        EXPECT_LT(offsets[rank].error_ns, 1'000'000'000);
      }
    });
  }
}

}  // namespace
}  // namespace gsplit
