// Rank threads of one process: the conformance suite, and how a group ends when a rank fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "comm/world.h"
#include "tests/comm/conformance.h"

namespace gsplit {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;

constexpr milliseconds kPlenty{60'000};

class LocalConformance : public ::testing::TestWithParam<std::tuple<ConformanceCase, int>> {};

TEST_P(LocalConformance, Holds) {
  const auto& [conformance_case, ranks] = GetParam();
  run_local_ranks(ranks, kPlenty, conformance_case.run);
}

INSTANTIATE_TEST_SUITE_P(Ranks, LocalConformance,
                         ::testing::Combine(::testing::ValuesIn(conformance_cases()),
                                            ::testing::Values(1, 2, 3, 4, 8)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "_" +
                                  std::to_string(std::get<1>(test.param));
                         });

class LocalPartConformance : public ::testing::TestWithParam<std::tuple<ConformanceCase, int>> {};

/// Two parts at the same time, of different sizes where the number of ranks is odd.
TEST_P(LocalPartConformance, Holds) {
  const auto& [conformance_case, ranks] = GetParam();
  run_local_ranks(ranks, kPlenty, [&run = conformance_case.run](Communicator& comm) {
    const std::unique_ptr<Communicator> part = comm.split(comm.rank() % 2);
    EXPECT_EQ(part->rank(), comm.rank() / 2);
    EXPECT_EQ(part->size(), (comm.size() + 1 - comm.rank() % 2) / 2);
    run(*part);
    comm.barrier();
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, LocalPartConformance,
                         ::testing::Combine(::testing::ValuesIn(conformance_cases()),
                                            ::testing::Values(1, 4, 5)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "_" +
                                  std::to_string(std::get<1>(test.param));
                         });

class LocalDuplicateConformance
    : public ::testing::TestWithParam<std::tuple<ConformanceCase, int>> {};

/// Two threads of each rank at the same time, the second one in a part.
TEST_P(LocalDuplicateConformance, Holds) {
  const auto& [conformance_case, ranks] = GetParam();
  run_local_ranks(ranks, kPlenty, [&run = conformance_case.run](Communicator& comm) {
    const std::unique_ptr<Communicator> duplicate = comm.duplicate();
    EXPECT_EQ(duplicate->rank(), comm.rank());
    EXPECT_EQ(duplicate->size(), comm.size());
    const std::unique_ptr<Communicator> part = duplicate->split(comm.rank() % 2);
    std::jthread beside([&] { run(*part); });
    run(comm);
    run(*duplicate->duplicate());
    beside.join();
    comm.barrier();
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, LocalDuplicateConformance,
                         ::testing::Combine(::testing::ValuesIn(conformance_cases()),
                                            ::testing::Values(1, 2, 5)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "_" +
                                  std::to_string(std::get<1>(test.param));
                         });

TEST(LocalSplit, PartsDoNotWaitForEachOther) {
  std::latch first_is_done(2);
  run_local_ranks(4, kPlenty, [&](Communicator& comm) {
    const std::unique_ptr<Communicator> part = comm.split(comm.rank() / 2);
    if (comm.rank() >= 2) first_is_done.wait();
    for (int round = 0; round < 20; ++round) part->barrier();
    if (comm.rank() < 2) first_is_done.count_down();
    comm.barrier();  // who leaves the whole ends the parts
  });
}

TEST(LocalSplit, MayBeMadeInSeveralWays) {
  run_local_ranks(6, kPlenty, [](Communicator& comm) {
    const auto rows = comm.split(comm.rank() / 2), columns = comm.split(-(comm.rank() % 2));
    EXPECT_EQ(rows->all_gather_value(comm.rank()).back(), comm.rank() / 2 * 2 + 1);
    EXPECT_EQ(columns->all_gather_value(comm.rank()).back(), 4 + comm.rank() % 2);
    comm.barrier();  // who leaves the whole ends the parts
  });
}

TEST(LocalBarrier, NobodyLeavesBeforeAllHaveCome) {
  std::atomic<int> come{0};
  run_local_ranks(4, kPlenty, [&come](Communicator& comm) {
    for (int round = 1; round <= 100; ++round) {
      ++come;
      comm.barrier();
      EXPECT_GE(come.load(), 4 * round);
      comm.barrier();
    }
  });
}

/// The CommunicationError that `call` throws.
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

TEST(LocalDeadline, NamesTheLowestAbsentRank) {
  const milliseconds deadline{100};
  std::latch waited(2);
  run_local_ranks(4, deadline, [&](Communicator& comm) {
    comm.barrier();
    if (comm.rank() == 1 || comm.rank() == 2) {  // do not come until the others have given up
      waited.wait();
      EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), 1);
      return;
    }
    const auto start = Clock::now();
    const CommunicationError error = thrown_by([&] { comm.barrier(); });
    const auto time = Clock::now() - start;
    EXPECT_EQ(error.peer(), 1);
    EXPECT_EQ(error.code(), ExitCode::kSystem);
    EXPECT_THAT(error.what(), HasSubstr("rank 1 did not take part in a collective within 100 ms"));
    EXPECT_LT(time, milliseconds{5000});
    EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), 1);
    waited.count_down();
  });
}

TEST(LocalDeadline, IsLongerForThePatientAndAfterwardsAsBefore) {
  const milliseconds deadline{100};
  std::latch waited(2);
  run_local_ranks(3, deadline, [&](Communicator& comm) {
    {
      const Patience patience(comm, 100);
      if (comm.rank() == 0) std::this_thread::sleep_for(4 * deadline);
      comm.barrier();
    }
    if (comm.rank() == 0) return waited.wait();
    const CommunicationError error = thrown_by([&] { comm.barrier(); });
    EXPECT_EQ(error.peer(), 0);
    EXPECT_THAT(error.what(), HasSubstr("rank 0 did not take part in a collective within 100 ms"));
    waited.count_down();
  });
}

TEST(LocalDeadline, NamesTheAbsentRankOfAPartAsTheWholeDoes) {
  std::latch waited(1);
  run_local_ranks(4, milliseconds{100}, [&](Communicator& comm) {
    const std::unique_ptr<Communicator> part = comm.split(comm.rank() % 2);
    if (comm.rank() % 2 == 0) {
      part->barrier();
      return waited.wait();
    }
    if (comm.rank() == 1) {
      waited.wait();
      EXPECT_EQ(thrown_by([&] { part->barrier(); }).peer(), 1);
      return;
    }
    const CommunicationError error = thrown_by([&] { part->barrier(); });
    EXPECT_EQ(error.peer(), 1);
    EXPECT_THAT(error.what(), HasSubstr("rank 1 did not take part in a collective within 100 ms"));
    waited.count_down();
  });
}

TEST(LocalDeadline, NamesTheAbsentRankOfADuplicateAndOfTheWholeBesideIt) {
  std::latch waited(2);
  run_local_ranks(3, milliseconds{100}, [&](Communicator& comm) {
    const std::unique_ptr<Communicator> duplicate = comm.duplicate();
    if (comm.rank() == 1) return waited.wait();
    EXPECT_EQ(thrown_by([&] { duplicate->barrier(); }).peer(), 1);
    EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), 1);
    waited.count_down();
  });
}

TEST(LocalDeadline, NamesNobodyWhoMayWaitInAPart) {
  std::latch waited(2);
  run_local_ranks(4, milliseconds{100}, [&](Communicator& comm) {
    const std::unique_ptr<Communicator> part = comm.split(comm.rank() / 2);
    if (comm.rank() >= 2) return waited.wait();
    EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), CommunicationError::kSomePeer);
    waited.count_down();
  });
}

TEST(LocalAbort, ReachesWaitersInPartsAndInTheWhole) {
  for (const bool in_part : {false, true}) {
    const auto start = Clock::now();
    run_local_ranks(5, kPlenty, [&](Communicator& comm) {
      const std::unique_ptr<Communicator> part = comm.split(comm.rank() / 3);
      if (comm.rank() == 4) (in_part ? *part : comm).abort("disk full");
      Communicator& awaited = comm.rank() == 0 ? comm : *part;
      const auto wait = [&] {
        while (true) awaited.barrier();
      };
      EXPECT_EQ(thrown_by(wait).peer(), 4);
      EXPECT_THAT(thrown_by([&] { comm.barrier(); }).what(), HasSubstr("disk full"));
    });
    EXPECT_LT(Clock::now() - start, kPlenty / 4);
  }
}

TEST(LocalAbort, ReachesBothThreadsOfARank) {
  const auto start = Clock::now();
  run_local_ranks(3, kPlenty, [&](Communicator& comm) {
    const std::unique_ptr<Communicator> duplicate = comm.duplicate();
    const auto wait_in = [](Communicator& awaited) {
      EXPECT_EQ(thrown_by([&] {
                  while (true) awaited.barrier();
                }).peer(),
                2);
    };
    std::jthread beside([&] { wait_in(*duplicate); });
    if (comm.rank() == 2) duplicate->abort("disk full");
    wait_in(comm);
  });
  EXPECT_LT(Clock::now() - start, kPlenty / 4);
}

TEST(LocalAbort, WakesWaitersAtOnce) {
  const auto start = Clock::now();
  run_local_ranks(4, kPlenty, [](Communicator& comm) {
    comm.barrier();
    if (comm.rank() == 2) comm.abort("disk full");
    const CommunicationError error = thrown_by([&] { comm.barrier(); });
    EXPECT_EQ(error.peer(), 2);
    EXPECT_THAT(error.what(), HasSubstr("disk full"));
    comm.abort("a later reason");
    EXPECT_THAT(thrown_by([&] { comm.barrier(); }).what(), HasSubstr("disk full"));
  });
  EXPECT_LT(Clock::now() - start, kPlenty / 4);
}

TEST(LocalAbort, MayComeAtAnyTime) {
  for (int round = 0; round < 50; ++round) {
    run_local_ranks(3, kPlenty, [round](Communicator& comm) {
      std::vector<std::byte> all(300'000);
      const std::vector<std::byte> mine(100'000, std::byte{7});
      const CommunicationError error = thrown_by([&] {
        for (int i = 0; comm.rank() != 0 || i < round % 7; ++i) comm.all_gather(mine, all);
        comm.abort("stop");
        comm.barrier();
      });
      EXPECT_EQ(error.peer(), 0);
    });
  }
}

// Whoever has copied would read what is gone (seen by AddressSanitizer), whoever waits would wait.
TEST(LocalAbandon, EndsTheExchangeForAll) {
  const auto start = Clock::now();
  for (int round = 0; round < 20; ++round) {
    run_local_ranks(3, kPlenty, [&](Communicator& comm) {
      const std::vector<std::size_t> bytes(3, 100'000);
      auto send = std::make_unique<std::vector<std::byte>>(300'000);
      std::vector<std::byte> received(300'000);
      if (comm.rank() != 1) {
        const auto exchange = [&] {
          while (true) comm.exchange({*send, bytes, received, bytes});
        };
        EXPECT_EQ(thrown_by(exchange).peer(), 1);
        return;
      }
      comm.start({*send, bytes, received, bytes});
      std::this_thread::sleep_for(std::chrono::microseconds(50 * round));
      comm.abandon();
      send.reset();
      EXPECT_EQ(thrown_by([&] { comm.barrier(); }).peer(), 1);
    });
  }
  EXPECT_LT(Clock::now() - start, kPlenty / 4);
}

TEST(LocalExchange, RejectsSizesThatPeersDisagreeOn) {
  const auto body = [](Communicator& comm) {
    const std::vector<std::byte> send(4);
    std::vector<std::byte> receive(comm.rank() == 0 ? 4 : 8);
    std::vector<std::size_t> send_bytes{0, 4};
    std::vector<std::size_t> receive_bytes{0, receive.size()};
    if (comm.rank() == 1) {
      std::swap(send_bytes[0], send_bytes[1]);
      std::swap(receive_bytes[0], receive_bytes[1]);
    }
    comm.exchange({send, send_bytes, receive, receive_bytes});
  };
  EXPECT_THROW(run_local_ranks(2, kPlenty, body), InternalError);
}

TEST(LocalExchange, RejectsSegmentsThatDoNotFillTheSpan) {
  const auto body = [](Communicator& comm) {
    const std::vector<std::byte> send(4);
    std::vector<std::byte> receive(4);
    const std::vector<std::size_t> three{3};
    comm.exchange({send, three, receive, three});
  };
  EXPECT_THROW(run_local_ranks(1, kPlenty, body), InternalError);
}

TEST(RunLocalRanks, RethrowsTheFirstExceptionAndEndsTheOthers) {
  std::atomic<int> told{0};
  const auto body = [&told](Communicator& comm) {
    comm.barrier();
    if (comm.rank() == 1) throw UsageError("file x is bad");
    try {
      comm.barrier();
    } catch (const CommunicationError& error) {
      told += error.peer() == 1;
      throw;
    }
  };
  EXPECT_THROW(run_local_ranks(3, kPlenty, body), UsageError);
  EXPECT_EQ(told.load(), 2);
}

TEST(RunLocalRanks, ARankThatReturnsEarlyIsMissed) {
  const auto body = [](Communicator& comm) {
    comm.barrier();
    if (comm.rank() == 0) return;
    comm.barrier();
  };
  const CommunicationError error = thrown_by([&] { run_local_ranks(3, kPlenty, body); });
  EXPECT_EQ(error.peer(), 0);
  EXPECT_THAT(error.what(), HasSubstr("has left"));
}

}  // namespace
}  // namespace gsplit
