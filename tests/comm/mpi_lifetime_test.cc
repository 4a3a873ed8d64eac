// Under mpirun: a world that brings MPI up and down by itself. One test only, since MPI cannot be
// initialised twice.
#include <gtest/gtest.h>
#include <mpi.h>

#include "comm/world.h"

namespace gsplit {
namespace {

TEST(MpiWorld, InitialisesAndFinalisesMpi) {
  int flag = 0;
  MPI_Initialized(&flag);
  ASSERT_FALSE(flag);
  EXPECT_TRUE(under_launcher());
  {
    MpiWorld world(std::chrono::milliseconds{60'000});
    Communicator& comm = world.communicator();
    EXPECT_EQ(comm.rank(), launcher_rank());
    // All ranks of the test are on this host.
    EXPECT_EQ(world.local_rank(), comm.rank());
    EXPECT_EQ(world.local_size(), comm.size());
    comm.barrier();
    MPI_Finalized(&flag);
    EXPECT_FALSE(flag);
  }
  MPI_Finalized(&flag);
  EXPECT_TRUE(flag);
}

}  // namespace
}  // namespace gsplit
