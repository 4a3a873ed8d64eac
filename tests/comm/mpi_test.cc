// Under mpirun: the conformance suite, and how a job ends when a rank fails. MPI is initialised by
// main(), so that ranks can still meet after a communicator has failed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <memory>
#include <thread>

#include "comm/world.h"
#include "tests/comm/conformance.h"

namespace gsplit {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;

constexpr milliseconds kPlenty{60'000};

class MpiConformance : public ::testing::TestWithParam<ConformanceCase> {};

TEST_P(MpiConformance, Holds) {
  MpiWorld world(kPlenty);
  GetParam().run(world.communicator());
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiConformance, ::testing::ValuesIn(conformance_cases()),
                         [](const auto& test) { return std::string(test.param.name); });

class MpiPartConformance : public ::testing::TestWithParam<ConformanceCase> {};

TEST_P(MpiPartConformance, Holds) {
  MpiWorld world(kPlenty);
  Communicator& comm = world.communicator();
  const std::unique_ptr<Communicator> part = comm.split(comm.rank() % 2);
  EXPECT_EQ(part->rank(), comm.rank() / 2);
  EXPECT_EQ(part->size(), (comm.size() + 1 - comm.rank() % 2) / 2);
  GetParam().run(*part);
  comm.barrier();
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiPartConformance, ::testing::ValuesIn(conformance_cases()),
                         [](const auto& test) { return std::string(test.param.name); });

class MpiDuplicateConformance : public ::testing::TestWithParam<ConformanceCase> {};

/// Two threads of each rank at the same time, the second one in a part.
TEST_P(MpiDuplicateConformance, Holds) {
  MpiWorld world(kPlenty);
  Communicator& comm = world.communicator();
  const std::unique_ptr<Communicator> duplicate = comm.duplicate();
  EXPECT_EQ(duplicate->rank(), comm.rank());
  EXPECT_EQ(duplicate->size(), comm.size());
  const std::unique_ptr<Communicator> part = duplicate->split(comm.rank() % 2);
  std::jthread beside([&] { GetParam().run(*part); });
  GetParam().run(comm);
  beside.join();
  GetParam().run(*duplicate);
  comm.barrier();
}

INSTANTIATE_TEST_SUITE_P(Mpi, MpiDuplicateConformance, ::testing::ValuesIn(conformance_cases()),
                         [](const auto& test) { return std::string(test.param.name); });

/// Tests in which ranks fail: each meets all ranks again before the next begins.
class MpiFailure : public ::testing::Test {
 protected:
  void SetUp() override {
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    if (size_ < 2) GTEST_SKIP() << "needs a peer";
  }
  void TearDown() override { MPI_Barrier(MPI_COMM_WORLD); }

  int size_ = 0;
};

template <class Call>
CommunicationError thrown_by(Call call) {
  try {
    call();
  } catch (const CommunicationError& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {-2, ""};
}

TEST_F(MpiFailure, DeadlineNamesTheAbsentRank) {
  const milliseconds deadline{300};
  MpiWorld world(deadline);
  Communicator& comm = world.communicator();
  comm.barrier();
  if (comm.rank() == 1) {  // does not come until the others have given up
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), 1);
    return;
  }
  const auto start = Clock::now();
  const CommunicationError error = thrown_by([&] { comm.barrier(); });
  const auto time = Clock::now() - start;
  EXPECT_EQ(error.peer(), 1);
  EXPECT_THAT(error.what(), HasSubstr("rank 1 did not take part in a collective within 300 ms"));
  EXPECT_LT(time, milliseconds{5000});
  EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), 1);
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST_F(MpiFailure, ThePatientWaitLongerAndAfterwardsAsBefore) {
  const milliseconds deadline{300};
  MpiWorld world(deadline);
  Communicator& comm = world.communicator();
  {
    const Patience patience(comm, 100);
    if (comm.rank() == 0) std::this_thread::sleep_for(3 * deadline);
    comm.barrier();
  }
  if (comm.rank() != 0) {
    EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), 0);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

// With rounds of pairs a rank may wait for a peer that itself waits for the absent one.
TEST_F(MpiFailure, DeadlineNamesTheAbsentRankInLaterRoundsToo) {
  MpiWorld world(milliseconds{300});
  Communicator& comm = world.communicator();
  if (comm.rank() != 1) {
    const std::vector<std::byte> mine(1'000'000);
    std::vector<std::byte> all(mine.size() * static_cast<std::size_t>(size_));
    EXPECT_EQ(thrown_by([&] { comm.all_gather(mine, all); }).peer(), 1);
    EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), 1);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST_F(MpiFailure, DeadlineNamesTheAbsentRankOfAPartAsTheWholeDoes) {
  if (size_ < 4) GTEST_SKIP() << "needs two parts of two ranks";
  MpiWorld world(milliseconds{300});
  Communicator& comm = world.communicator();
  const std::unique_ptr<Communicator> part = comm.split(comm.rank() % 2);
  if (comm.rank() == 3) {
    EXPECT_EQ(thrown_by([&] { part->barrier(); }).peer(), 1);
  }
  MPI_Barrier(MPI_COMM_WORLD);  // a notice has come, too
  EXPECT_EQ(thrown_by([&] { part->barrier(); }).peer(), 1);
}

TEST_F(MpiFailure, DeadlineNamesNobodyWhoMayWaitInAPart) {
  MpiWorld world(milliseconds{300});
  Communicator& comm = world.communicator();
  const std::unique_ptr<Communicator> part = comm.split(comm.rank());
  if (comm.rank() == 0) {
    EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), CommunicationError::kSomePeer);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), CommunicationError::kSomePeer);
}

TEST_F(MpiFailure, AbortReachesWaitersInParts) {
  if (size_ < 4) GTEST_SKIP() << "needs two parts of two ranks";
  MpiWorld world(kPlenty);
  Communicator& comm = world.communicator();
  const std::unique_ptr<Communicator> part = comm.split(comm.rank() / 2);
  MPI_Barrier(MPI_COMM_WORLD);
  const auto start = Clock::now();
  if (comm.rank() == 0) part->abort("disk full");
  const auto wait = [&] {
    while (true) part->barrier();
  };
  const CommunicationError error = thrown_by(wait);
  EXPECT_EQ(error.peer(), 0);
  EXPECT_THAT(error.what(), HasSubstr("disk full"));
  EXPECT_LT(Clock::now() - start, kPlenty / 4);
}

TEST_F(MpiFailure, AbortReachesBothThreadsOfARank) {
  MpiWorld world(kPlenty);
  Communicator& comm = world.communicator();
  const std::unique_ptr<Communicator> duplicate = comm.duplicate();
  MPI_Barrier(MPI_COMM_WORLD);
  const auto start = Clock::now();
  const auto wait_in = [](Communicator& awaited) {
    EXPECT_EQ(thrown_by([&] {
                while (true) awaited.barrier();
              }).peer(),
              0);
  };
  std::jthread beside([&] { wait_in(*duplicate); });
  if (comm.rank() == 0) duplicate->abort("disk full");
  wait_in(comm);
  beside.join();
  EXPECT_LT(Clock::now() - start, kPlenty / 4);
}

TEST_F(MpiFailure, AbortWakesWaitersAtOnce) {
  MpiWorld world(kPlenty);
  Communicator& comm = world.communicator();
  MPI_Barrier(MPI_COMM_WORLD);  // not ours, which would end with the abort in a rank that is late
  const auto start = Clock::now();
  if (comm.rank() == 0) comm.abort("disk full");
  const CommunicationError error = thrown_by([&] { comm.barrier(); });
  EXPECT_EQ(error.peer(), 0);
  EXPECT_THAT(error.what(), HasSubstr("disk full"));
  EXPECT_THAT(thrown_by([&] { comm.barrier(); }).what(), HasSubstr("disk full"));
  EXPECT_LT(Clock::now() - start, kPlenty / 4);
}

TEST_F(MpiFailure, AnExceptionTellsThePeers) {
  if (int rank = 0; MPI_Comm_rank(MPI_COMM_WORLD, &rank) == MPI_SUCCESS && rank == 1) {
    const auto fail = [] {
      const MpiWorld world(kPlenty);
      throw UsageError("file x is bad");
    };
    EXPECT_THROW(fail(), UsageError);
    return;
  }
  MpiWorld world(kPlenty);
  EXPECT_EQ(thrown_by([&] { world.communicator().barrier(); }).peer(), 1);
}

/// Rank 0 sends `sent` bytes to rank 1, which expects `expected`.
void check_mismatch(std::size_t sent, std::size_t expected) {
  MpiWorld world(kPlenty);
  Communicator& comm = world.communicator();
  std::vector<std::size_t> send_bytes(static_cast<std::size_t>(comm.size()), 0);
  std::vector<std::size_t> receive_bytes = send_bytes;
  if (comm.rank() == 0) send_bytes[1] = sent;
  if (comm.rank() == 1) receive_bytes[0] = expected;
  const std::vector<std::byte> send(comm.rank() == 0 ? sent : 0);
  std::vector<std::byte> receive(comm.rank() == 1 ? expected : 0);
  const auto exchange = [&] { comm.exchange({send, send_bytes, receive, receive_bytes}); };
  if (comm.rank() == 1) {
    EXPECT_THROW(exchange(), InternalError);
    return;
  }
  const CommunicationError error = thrown_by([&] {
    exchange();
    comm.barrier();
  });
  EXPECT_EQ(error.peer(), 1);
}

TEST_F(MpiFailure, LessThanExpectedIsRejected) { check_mismatch(4, 8); }
TEST_F(MpiFailure, MoreThanExpectedIsRejected) { check_mismatch(8, 4); }

}  // namespace
}  // namespace gsplit

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
  ::testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  MPI_Finalize();
  return failed;
}
