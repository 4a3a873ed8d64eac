// What a supervisor makes of RUN_DIR and of a launcher's exit code.
#include "runtime/supervise/run_state.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>

#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

const std::string kStep = R"({"event":"step","time":1.5,"step":7,"loss":0.5})"
                          "\n";

std::string end_event(const std::string& status, const std::string& reason = "", double time = 2) {
  return R"({"event":"run_end","time":)" + std::to_string(time) + R"(,"status":")" + status +
         R"(","reason":)" + (reason.empty() ? "null" : "\"" + reason + "\"") + "}\n";
}

class RunStateTest : public testing::Test {
 protected:
  RunState state_of(const std::string& events) {
    std::ofstream(scratch_.path() / "events.jsonl") << events;
    return read_run_state(scratch_.path());
  }

  JobEnd judged(const std::string& before, const std::string& after, int code, bool asked = false) {
    const RunState first = state_of(before);
    return judge(first, state_of(after), code, asked);
  }

  TemporaryDirectory scratch_;
};

TEST_F(RunStateTest, an_empty_directory_says_nothing) {
  const RunState state = read_run_state(scratch_.path() / "nothing");
  EXPECT_EQ(state.end_line, "");
  EXPECT_EQ(state.checkpoint_step, 0u);
}

TEST_F(RunStateTest, reads_how_the_run_ended) {
  const RunState state = state_of(kStep + end_event("stopped", "gsplit stop"));
  EXPECT_EQ(state.status, "stopped");
  EXPECT_EQ(state.reason, "gsplit stop");
}

TEST_F(RunStateTest, an_end_that_is_cut_short_or_followed_by_events_is_none) {
  std::string cut = end_event("done");
  cut.pop_back();
  EXPECT_EQ(state_of(kStep + cut).end_line, "");
  EXPECT_EQ(state_of(end_event("done") + kStep).end_line, "");
  EXPECT_EQ(state_of(end_event("done") + "{\"event\":").end_line, "");
}

TEST_F(RunStateTest, finds_the_end_of_a_long_file) {
  std::string events;
  while (events.size() < (1 << 18)) events += kStep;
  EXPECT_EQ(state_of(events + end_event("early_stop")).status, "early_stop");
}

TEST_F(RunStateTest, the_latest_checkpoint_counts_and_unfinished_ones_do_not) {
  for (const char* name :
       {"step-9", "step-10", ".step-11.unfinished-0", "damaged-step-12", "best"}) {
    std::filesystem::create_directories(scratch_.path() / "checkpoints" / name);
  }
  EXPECT_EQ(read_run_state(scratch_.path()).checkpoint_step, 10u);
}

TEST_F(RunStateTest, a_run_that_is_done_is_done_whatever_the_launcher_says) {
  for (const char* status : {"done", "early_stop"}) {
    for (const int code : {0, 1, 2, 3, 130, 137}) {
      EXPECT_EQ(judged(kStep, kStep + end_event(status), code), JobEnd::kDone);
    }
  }
}

TEST_F(RunStateTest, without_an_end_the_run_has_failed) {
  for (const int code : {1, 3, 137, 139, 143, 255})
    EXPECT_EQ(judged("", kStep, code), JobEnd::kFailed);
}

TEST_F(RunStateTest, an_end_of_before_is_none_of_this_start) {
  const std::string old = kStep + end_event("stopped", "gsplit stop");
  EXPECT_EQ(judged(old, old, 3), JobEnd::kFailed);
  EXPECT_EQ(judged(old, kStep + end_event("stopped", "gsplit stop", 3), 3), JobEnd::kStopped);
  const std::string done = kStep + end_event("done");
  EXPECT_EQ(judged(done, done, 3), JobEnd::kFailed);
  EXPECT_EQ(judged(done, done, 0), JobEnd::kDone);  // resumed, and nothing was left to do
}

TEST_F(RunStateTest, who_asks_to_stop_is_not_started_again) {
  for (const char* reason : {"gsplit stop", "SIGUSR1 to rank 1 on h", "SIGINT to rank 0 on h"}) {
    EXPECT_EQ(judged(kStep, kStep + end_event("stopped", reason), 137), JobEnd::kStopped) << reason;
  }
  EXPECT_EQ(judged(kStep, kStep, 137, true), JobEnd::kStopped);
  EXPECT_EQ(judged(kStep, kStep + end_event("done"), 0, true), JobEnd::kDone);
}

TEST_F(RunStateTest, the_death_of_a_launcher_is_a_failure) {
  EXPECT_EQ(
      judged(kStep, kStep + end_event("stopped", "the launcher of rank 1 on h has ended"), 137),
      JobEnd::kFailed);
  const std::string told = kStep + end_event("stopped", "SIGTERM to rank 3 on h2");
  EXPECT_EQ(judged(kStep, told, 137), JobEnd::kFailed);
  EXPECT_EQ(judged(kStep, told, 205), JobEnd::kFailed);  // a host that shuts down
  EXPECT_EQ(judged(kStep, told, 130), JobEnd::kStopped);
}

TEST_F(RunStateTest, the_code_decides_where_the_directory_says_nothing) {
  EXPECT_EQ(judged("", "", 2), JobEnd::kUsage);
  EXPECT_EQ(judged("", "", 130), JobEnd::kStopped);
  EXPECT_EQ(judged("", "", 0), JobEnd::kNotWatched);
}

TEST_F(RunStateTest, knows_whether_a_run_writes) {
  EXPECT_FALSE(is_locked(scratch_.path()));
  const int lock = open((scratch_.path() / ".lock").c_str(), O_RDWR | O_CREAT, 0666);
  EXPECT_FALSE(is_locked(scratch_.path()));
  ASSERT_EQ(flock(lock, LOCK_EX), 0);
  EXPECT_TRUE(is_locked(scratch_.path()));
  close(lock);
  EXPECT_FALSE(is_locked(scratch_.path()));
}

}  // namespace
}  // namespace gsplit
