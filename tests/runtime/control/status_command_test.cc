// gsplit status and gsplit stop against a live coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/cli/command.h"
#include "tests/runtime/control/control_fixture.h"

namespace gsplit {
namespace {

using testing::HasSubstr;

class CapturedStdout {
 public:
  CapturedStdout() : terminal_(std::cout.rdbuf(text_.rdbuf())) {}
  ~CapturedStdout() { std::cout.rdbuf(terminal_); }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf* terminal_;
};

/// Stdout of the command line.
std::string run(std::vector<std::string> arguments) {
  CLI::App app;
  Action action;
  add_status_commands(app, action);
  std::reverse(arguments.begin(), arguments.end());
  app.parse(arguments);
  const CapturedStdout output;
  EXPECT_EQ(action(), ExitCode::kDone);
  return output.text();
}

TEST(StatusCommand, PrintsWhereEachWorkerStands) {
  ControlFixture job(2, {.seed = 1, .batch_size = 100, .epochs = 3});
  job.progress(1).phase = Phase::kAllReduce;
  job.progress(1).step = 12;
  job.progress(1).seeds_done = 345;
  const auto client = job.client(1);
  job.open();
  std::string text;
  do text = run({"status", job.address()});
  while (text.find("all-reduce") == std::string::npos);
  EXPECT_THAT(text, HasSubstr("1 of 2 workers, step 12 of 30 steps"));
  EXPECT_THAT(text, HasSubstr("host-b"));

  const auto status = nlohmann::json::parse(run({"status", job.address(), "--json"}));
  EXPECT_EQ(status["world_size"], 2);
  EXPECT_EQ(status["total_steps"], 30);
  EXPECT_EQ(status["stop_requested"], false);
  EXPECT_TRUE(status["failure"].is_null());
  ASSERT_EQ(status["workers"].size(), 1u);
  const auto& worker = status["workers"][0];
  EXPECT_EQ(worker["rank"], 1);
  EXPECT_EQ(worker["host"], "host-b");
  EXPECT_EQ(worker["phase"], "all-reduce");
  EXPECT_EQ(worker["step"], 12);
  EXPECT_EQ(worker["seeds_done"], 345);
  EXPECT_EQ(worker["steps_behind"], 0);
  EXPECT_GT(worker["rss_bytes"], 1 << 20);
  EXPECT_LT(worker["seconds_since_heartbeat"], 10.0);
}

TEST(StatusCommand, TellsWhoIsBehindAndWhoIsBusy) {
  ControlFixture job(2, {.seed = 1, .batch_size = 100, .epochs = 3});
  job.progress(0).step = 7;
  const auto first = job.client(0);
  const auto second = job.client(1);
  nlohmann::json workers;
  const auto look = [&] {
    job.progress(1).seeds_done += 10;
    job.progress(1).busy_s = job.progress(1).busy_s + 0.001;
    workers = nlohmann::json::parse(run({"status", job.address(), "--json"}))["workers"];
    return workers.size() == 2 && workers[1]["seeds_per_s"] > 0 && workers[1]["steps_behind"] == 7;
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!look() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_EQ(workers[1]["steps_behind"], 7);
  EXPECT_GT(workers[1]["seeds_per_s"], 0);
  EXPECT_GT(workers[1]["busy_share"], 0);
  EXPECT_EQ(workers[0]["steps_behind"], 0);
  EXPECT_EQ(workers[0]["seeds_per_s"], 0);
  EXPECT_EQ(workers[0]["busy_share"], 0);
}

TEST(StatusCommand, ReportsTheFailure) {
  ControlFixture job(2, {});
  job.coordinator().fail({.rank = 1, .host = "host-b", .message = "disk full"});
  EXPECT_THAT(run({"status", job.address()}), HasSubstr("rank 1 on host-b failed in starting"));
}

TEST(StopCommand, StopsTheJobOfTheEnvironment) {
  ControlFixture job(1, {});
  const auto client = job.client(0);
  ASSERT_EQ(setenv("GSPLIT_COORDINATOR", job.address().c_str(), 1), 0);
  EXPECT_THAT(run({"stop"}), HasSubstr("after step 0"));
  unsetenv("GSPLIT_COORDINATOR");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!client->stop_requested() && std::chrono::steady_clock::now() < end) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(client->stop_requested());
}

/// Of another run's cards nothing is seen.
class OwnFolder {
 public:
  OwnFolder() {
    GSPLIT_CHECK(mkdtemp(path_.data()) != nullptr);
    setenv("XDG_RUNTIME_DIR", path_.c_str(), 1);
  }
  ~OwnFolder() {
    std::filesystem::remove_all(path_);
    unsetenv("XDG_RUNTIME_DIR");
  }

 private:
  std::string path_ = testing::TempDir() + "gsplit-status-XXXXXX";
};

TEST(StatusCommand, FindsTheOnlyRun) {
  unsetenv("GSPLIT_COORDINATOR");
  const OwnFolder folder;
  ControlFixture job(1, {});
  const std::size_t others = find_contacts().size() - 1;  // in /tmp, from other processes
  if (others > 0) GTEST_SKIP() << "other runs are under way on this host";
  EXPECT_THAT(run({"status"}), HasSubstr("0 of 1 workers"));
  const ControlFixture second(1, {});
  try {
    run({"status"});
    ADD_FAILURE() << "took one of two";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr(job.address()));
    EXPECT_THAT(error.what(), HasSubstr("several runs"));
  }
}

TEST(StatusCommand, NeedsAnAddressThatAnswers) {
  unsetenv("GSPLIT_COORDINATOR");
  if (find_contacts().empty()) {
    EXPECT_THROW(run({"status"}), UsageError);
    EXPECT_THROW(run({"stop"}), UsageError);
  }
  EXPECT_THROW(run({"status", "127.0.0.1:1"}), UsageError);  // nobody has left its token
}

}  // namespace
}  // namespace gsplit
