// Joining, refusals, losses and the end of a job, over real gRPC.
#include "runtime/control/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/control/job_state.h"
#include "tests/runtime/control/control_fixture.h"

namespace gsplit {
namespace {

using Clock = std::chrono::steady_clock;
using testing::HasSubstr;

const PlannerOptions kPlan{.seed = 1, .batch_size = 100, .epochs = 5};

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// What `action` throws as an Error of the given code; empty when it does not.
std::string error_of(ExitCode code, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "";
}

TEST(Coordinator, BindsAFreePortOfLoopbackUnlessToldOtherwise) {
  const Coordinator first({});
  EXPECT_THAT(first.address(), testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_THROW(Coordinator({.bind_address = first.address()}), SystemError);
  EXPECT_THROW(Coordinator({.bind_address = "192.0.2.1:0"}), SystemError);  // of no host
  for (const char* address :
       {"", "127.0.0.1", "127.0.0.1:", ":5", "127.0.0.1:70000", "127.0.0.1:x"}) {
    EXPECT_THAT(error_of(ExitCode::kUsage, [&] { Coordinator({.bind_address = address}); }),
                HasSubstr("not an address"))
        << address;
  }
}

TEST(Coordinator, JoinWaitsForAllWorkersAndTheData) {
  ControlFixture job(4, kPlan);
  std::vector<JoinResult> results(4);
  std::vector<std::thread> workers;
  std::atomic<int> joined{0};
  for (int rank = 0; rank < 4; ++rank) {
    workers.emplace_back([&, rank] {
      const auto client = job.client(rank);
      results[static_cast<std::size_t>(rank)] = job.join(*client);
      ++joined;
      client->report_finished();
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(joined, 0) << "joined a job that is not open";
  job.open();
  for (std::thread& worker : workers) worker.join();
  for (const JoinResult& result : results) {
    EXPECT_EQ(result.total_steps, job.planner().total_steps());
    EXPECT_EQ(result.steps_per_epoch, job.planner().steps_per_epoch());
  }
  EXPECT_FALSE(job.coordinator().failure());
}

struct Refusal {
  std::string name;
  std::function<void(ClientOptions&)> change;
  std::string version = GSPLIT_VERSION;
  std::string fingerprint = ControlFixture::kFingerprint;
  std::string expected;
};

void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

class RefusedWorker : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedWorker, IsNamedToItselfAndToTheOthers) {
  const Refusal& refusal = GetParam();
  ControlFixture job(3, kPlan);
  job.open();
  const auto good = job.client(0);
  const auto taken = job.client(1);
  std::string others;
  std::thread waiting([&] { others = error_of(ExitCode::kUsage, [&] { job.join(*good); }); });
  error_of(ExitCode::kUsage, [&] {
    // Rank 1 is held from its first Join on, which does not end before rank 2 comes.
    std::thread second([&] { error_of(ExitCode::kUsage, [&] { job.join(*taken); }); });
    while (query_status(job.address(), true).find("host-b") == std::string::npos) {
      std::this_thread::yield();
    }
    ClientOptions options = job.options(2);
    refusal.change(options);
    const auto bad = job.client(options);
    const std::string own =
        error_of(ExitCode::kUsage, [&] { bad->join(refusal.version, refusal.fingerprint); });
    EXPECT_THAT(own, HasSubstr(refusal.expected));
    second.join();
    waiting.join();
    EXPECT_EQ(others, own);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, RefusedWorker,
    testing::Values(
        Refusal{.name = "version",
                .change = [](ClientOptions&) {},
                .version = "9.9.9",
                .expected = "rank 2 on host-c runs gsplit 9.9.9"},
        Refusal{.name = "data",
                .change = [](ClientOptions&) {},
                .fingerprint = "0ther",
                .expected = "rank 2 on host-c has other data than the coordinator: fingerprint "
                            "0ther against 5f1e77a0c0ff"},
        Refusal{.name = "world",
                .change = [](ClientOptions& o) { o.world_size = 4; },
                .expected = "rank 2 on host-c belongs to a job of 4 workers"},
        Refusal{.name = "range",
                .change = [](ClientOptions& o) { o.rank = 3; },
                .expected = "rank 3 on host-c does not exist in a job of 3 workers"},
        Refusal{.name = "taken",
                .change = [](ClientOptions& o) { o.rank = 1; },
                .expected = "rank 1 on host-c is taken by another worker on host-b"}),
    [](const auto& info) { return info.param.name; });

TEST(Coordinator, AFinishedWorkerMayGo) {
  ControlFixture job(2, kPlan, ControlFixture::kDeadline);
  const auto stays = job.client(0);
  {
    const auto goes = job.client(1);
    goes->report_finished();
  }
  std::this_thread::sleep_for(2 * ControlFixture::kDeadline);
  EXPECT_FALSE(job.coordinator().failure());
  EXPECT_FALSE(stays->failure());
}

/// A worker process at the other end of a pipe.
class WorkerProcess {
 public:
  WorkerProcess(const std::string& address, int rank, int world_size) {
    int ends[2];
    GSPLIT_CHECK(pipe(ends) == 0);
    const std::vector<std::string> words{GSPLIT_CONTROL_WORKER, address, std::to_string(rank),
                                         std::to_string(world_size), ControlFixture::kFingerprint};
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_ = vfork();
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    close(ends[1]);
    output_ = fdopen(ends[0], "r");
  }
  ~WorkerProcess() {
    kill();
    fclose(output_);
  }
  bool await_ready() {
    char line[16] = "";
    return std::fgets(line, sizeof(line), output_) != nullptr && std::string(line) == "ready\n";
  }
  void stop() { ::kill(pid_, SIGSTOP); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  FILE* output_ = nullptr;
};

TEST(Coordinator, AStoppedProcessIsLostAfterTheDeadlineAndTheOthersLearnIt) {
  ControlFixture job(3, kPlan, ControlFixture::kDeadline);
  job.open();
  WorkerProcess victim(job.address(), 1, 3);
  const auto first = job.client(0);
  const auto third = job.client(2);
  std::thread joining([&] { job.join(*first); });
  job.join(*third);
  joining.join();
  ASSERT_TRUE(victim.await_ready());
  victim.stop();
  const Clock::time_point stopped = Clock::now();
  for (const CoordinatorClient* client : {first.get(), third.get()}) {
    const auto failure = await_failure(*client);
    ASSERT_TRUE(failure);
    EXPECT_THAT(failure->describe(),
                testing::MatchesRegex("rank 1 on host-b failed in compute at step 1: lost: no "
                                      "heartbeat for 0\\.[56] s; run it again with --resume"));
  }
  EXPECT_LT(seconds_since(stopped), 1.0);
  EXPECT_GT(seconds_since(stopped), 0.4);
}

TEST(Coordinator, AWorkerThatNeverComesIsLost) {
  ControlFixture job(2, kPlan, ControlFixture::kDeadline);
  const auto present = job.client(0);
  const auto failure = await_failure(*present);
  ASSERT_TRUE(failure);
  EXPECT_THAT(failure->describe(), HasSubstr("rank 1 on an unknown host failed in starting at "
                                             "step 0: lost: never heard of for 1.0 s"));
}

TEST(Coordinator, AWorkerThatGoesWithoutAWordIsLostAtOnce) {
  ControlFixture job(2, kPlan);
  const auto stays = job.client(0);
  {
    job.progress(1).phase = Phase::kPartition;
    const auto vanishing = job.client(1);
    while (query_status(job.address(), true).find("partition") == std::string::npos) {
      std::this_thread::yield();
    }
  }  // before it has joined
  const Clock::time_point vanished = Clock::now();
  const auto failure = await_failure(*stays);
  ASSERT_TRUE(failure);
  EXPECT_LT(seconds_since(vanished), 1.0);
  EXPECT_EQ(failure->describe(),
            "rank 1 on host-b failed in partition at step 0: lost: its connection broke; run it "
            "again with --resume");
  EXPECT_THAT(error_of(ExitCode::kSystem, [&] { job.join(*stays); }),
              HasSubstr("rank 1 on host-b"));
}

TEST(Coordinator, AMissingWorkerIsNamedWhereItWasLastHeardOf) {
  ControlFixture job(3, kPlan);
  job.progress(2).phase = Phase::kExchange;
  job.progress(2).step = 8;
  const auto messenger = job.client(1);
  const auto missing = job.client(2);
  while (query_status(job.address(), true).find("exchange") == std::string::npos) {
    std::this_thread::yield();
  }
  messenger->report_loss(2, "did not take part");
  const auto failure = await_failure(*messenger);
  ASSERT_TRUE(failure);
  EXPECT_THAT(failure->describe(),
              HasSubstr("rank 2 on host-c failed in exchange at step 8: lost: did not take part"));
}

TEST(JobState, SaysWhatAnAbsentWorkerHasBeenDoingAndWhetherItHadACore) {
  for (const double share : {0.0, 0.1, 0.5, 0.9}) {
    JobState job({.world_size = 2}, [] {});
    for (int beat = 0; beat < 5; ++beat) {
      const double now =
          std::chrono::duration<double>(JobState::Clock::now().time_since_epoch()).count();
      job.heartbeat({.rank = 0,
                     .instance = 1,
                     .host = "host-a",
                     .phase = Phase::kCheckpoint,
                     .step = 7,
                     .core_wait_s = share * now});
      std::this_thread::sleep_for(std::chrono::milliseconds(60));
    }
    job.fail({.rank = 0, .message = "did not come"});
    const std::string line = job.failure()->describe();
    EXPECT_THAT(line, HasSubstr("rank 0 on host-a failed in checkpoint at step 7: lost: did not "
                                "come (it has been in checkpoint for 0."))
        << share;
    EXPECT_EQ(line.find("its host is overloaded") != std::string::npos, share > 0.2) << line;
  }
}

/// Workers of `exchanges`, by rank, of whom rank 1 says that a peer did not come: what is made of
/// it.
std::string told_by_rank_1(const std::vector<std::uint64_t>& exchanges) {
  ControlFixture job(static_cast<int>(exchanges.size()), kPlan);
  std::vector<std::unique_ptr<CoordinatorClient>> clients;
  for (std::size_t rank = 0; rank < exchanges.size(); ++rank) {
    Progress& progress = job.progress(static_cast<int>(rank));
    progress.phase = Phase::kCompute;
    progress.step = 5 + rank;
    progress.exchanges = exchanges[rank];
    clients.push_back(job.client(static_cast<int>(rank)));
    const std::string place = R"("step":)" + std::to_string(5 + rank);
    while (query_status(job.address(), true).find(place) == std::string::npos) {
      std::this_thread::yield();
    }
  }
  clients[1]->report_missing("did not come");
  const auto failure = await_failure(*clients[0]);
  return failure ? failure->describe() : "";
}

TEST(Coordinator, OfAllThatWaitTheOneThatHasComeToTheFewestExchangesIsMissing) {
  EXPECT_THAT(told_by_rank_1({9, 8, 7, 9}),
              HasSubstr("rank 2 on host-c failed in compute at step 7: lost: did not come"));
  EXPECT_THAT(told_by_rank_1({6, 8, 7}), HasSubstr("rank 0 on host-a failed in compute at step 5"));
}

TEST(Coordinator, WhereNobodyHasStayedBehindTheFailureIsTheMessengers) {
  EXPECT_THAT(told_by_rank_1({8, 8, 8}),
              HasSubstr("rank 1 on host-b failed in compute at step 6: a peer did not come"));
  EXPECT_THAT(told_by_rank_1({9, 8}), HasSubstr("rank 1 on host-b"));
}

TEST(Coordinator, AWorkerThatIsAskedToStopStopsTheJob) {
  ControlFixture job(2, kPlan);
  std::atomic<bool> stop_wanted{false};
  ClientOptions options = job.options(1);
  options.stop_reason = [&] { return stop_wanted ? "SIGUSR1 to rank 1" : ""; };
  const auto asked = job.client(options);
  const auto other = job.client(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_FALSE(other->stop_requested());
  stop_wanted = true;
  const Clock::time_point begin = Clock::now();
  while (!other->stop_requested() && seconds_since(begin) < 5) std::this_thread::yield();
  EXPECT_TRUE(other->stop_requested());
}

TEST(Coordinator, AKilledProcessIsLostAtOnce) {
  ControlFixture job(2, kPlan, std::chrono::seconds(30));
  job.open();
  WorkerProcess victim(job.address(), 1, 2);
  const auto survivor = job.client(0);
  job.join(*survivor);
  const auto plans = survivor->stream_plans(1);
  ASSERT_TRUE(victim.await_ready());
  victim.kill();
  const Clock::time_point killed = Clock::now();
  const auto failure = await_failure(*survivor);
  ASSERT_TRUE(failure);
  EXPECT_LT(seconds_since(killed), 1.0);
  EXPECT_EQ(failure->describe(),
            "rank 1 on host-b failed in compute at step 1: lost: its connection broke; run it "
            "again with --resume");
  EXPECT_THROW(plans->next(), SystemError);
}

TEST(Coordinator, TheFirstReportedFailureReachesEveryone) {
  ControlFixture job(3, kPlan);
  job.open();
  const auto failing = job.client(1);
  const auto late = job.client(2);
  const auto other = job.client(0);
  job.progress(1).phase = Phase::kLoading;
  job.progress(1).step = 17;
  failing->report_failure("features.npy cannot be read", 3);
  late->report_failure("collective aborted", 3);
  const auto failure = await_failure(*other);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->describe(),
            "rank 1 on host-b failed in loading at step 17: features.npy cannot be read");
  EXPECT_EQ(job.coordinator().failure()->rank, 1);
}

TEST(Coordinator, AUsageErrorOfOneWorkerIsOneOfAll) {
  ControlFixture job(2, kPlan);
  const auto failing = job.client(1);
  const auto other = job.client(0);
  failing->report_failure("label 7 of node 3 is out of range", 2);
  EXPECT_EQ(error_of(ExitCode::kUsage, [&] { job.join(*other); }),
            "label 7 of node 3 is out of range");
}

TEST(Coordinator, WorkersEndWhenItIsGone) {
  ControlFixture job(2, kPlan, ControlFixture::kDeadline);
  job.progress(0).phase = Phase::kLoading;
  job.progress(0).step = 5;
  const auto client = job.client(0);
  const Clock::time_point begin = Clock::now();
  while (query_status(job.address(), true).find("host-a") == std::string::npos) {
    std::this_thread::yield();
  }
  std::atomic<int> calls{0};
  ClientOptions options = job.options(1);
  options.on_failure = [&](const WorkerFailure& failure) {
    EXPECT_EQ(failure.rank, 0);
    ++calls;
  };
  const auto other = job.client(options);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // a few heartbeats
  std::thread waiting([&] {
    const std::string error = error_of(ExitCode::kSystem, [&] { job.join(*client); });
    EXPECT_THAT(error, HasSubstr("lost: the coordinator at " + job.address()));
    EXPECT_THAT(error, HasSubstr("rank 0 on host-a failed in loading at step 5"));
  });
  job.destroy_coordinator();
  EXPECT_LT(seconds_since(begin), 1.0);
  waiting.join();
  EXPECT_LT(seconds_since(begin), 1.5);
  EXPECT_TRUE(client->failure());
  EXPECT_TRUE(await_failure(*other));
  EXPECT_EQ(calls, 1);
}

TEST(Coordinator, AClientOfNobodyEndsWithinItsDeadlineAndIsDestroyedPromptly) {
  Progress progress;
  const Contact nobody{"127.0.0.1:1", make_identity().credentials()};
  const ClientOptions options{.contact = nobody, .deadline = std::chrono::milliseconds(300)};
  CoordinatorClient failing(options, progress);
  EXPECT_THAT(error_of(ExitCode::kSystem, [&] { failing.join("1", "2"); }),
              HasSubstr("does not answer"));
  const Clock::time_point begin = Clock::now();
  { const CoordinatorClient patient({.contact = nobody}, progress); }
  EXPECT_LT(seconds_since(begin), 0.5);
}

}  // namespace
}  // namespace gsplit
