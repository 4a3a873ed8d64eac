// Plans over the wire: all of them, in order, read ahead within bounds, and a common end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/control/client.h"
#include "tests/runtime/control/control_fixture.h"

namespace gsplit {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Runs `body` as every worker of the job at once, joined and streaming from `first_step`.
void run_workers(ControlFixture& job, int world_size, std::uint64_t first_step,
                 const std::function<void(int rank, CoordinatorClient&, PlanStream&)>& body) {
  std::vector<std::thread> workers;
  for (int rank = 0; rank < world_size; ++rank) {
    workers.emplace_back([&, rank] {
      const auto client = job.client(rank);
      job.join(*client);
      {
        const auto plans = client->stream_plans(first_step);
        body(rank, *client, *plans);
      }
      client->report_finished();
    });
  }
  for (std::thread& worker : workers) worker.join();
}

void expect_plan(const ControlFixture& job, int rank, std::uint64_t step,
                 const std::optional<StepPlan>& plan) {
  ASSERT_TRUE(plan) << "step " << step;
  const StepPlan expected = job.planner().plan(step)[static_cast<std::size_t>(rank)];
  EXPECT_EQ(plan->step, step);
  EXPECT_EQ(plan->epoch, expected.epoch);
  EXPECT_EQ(plan->global_batch, expected.global_batch);
  EXPECT_EQ(plan->last_of_epoch, expected.last_of_epoch);
  EXPECT_EQ(plan->seeds, expected.seeds);
}

class PlanStreamOfWorkers : public testing::TestWithParam<int> {};

TEST_P(PlanStreamOfWorkers, BringsEveryPlanInOrder) {
  ControlFixture job(GetParam(), {.seed = 5, .batch_size = 37, .epochs = 4});
  job.open();
  run_workers(job, GetParam(), 1, [&](int rank, CoordinatorClient& client, PlanStream& plans) {
    for (std::uint64_t step = 1; step <= job.planner().total_steps(); ++step) {
      expect_plan(job, rank, step, plans.next());
    }
    EXPECT_FALSE(plans.next());
    EXPECT_FALSE(plans.next()) << "the end lasts";
    EXPECT_FALSE(client.stop_requested());
  });
  EXPECT_FALSE(job.coordinator().failure());
}

INSTANTIATE_TEST_SUITE_P(Workers, PlanStreamOfWorkers, testing::Values(1, 2, 4, 16));

TEST(PlanStream, StartsInTheMiddle) {
  ControlFixture job(2, {.seed = 5, .batch_size = 100, .epochs = 4});
  job.open();
  run_workers(job, 2, 33, [&](int rank, CoordinatorClient&, PlanStream& plans) {
    for (std::uint64_t step = 33; step <= 40; ++step) expect_plan(job, rank, step, plans.next());
    EXPECT_FALSE(plans.next());
  });
}

TEST(PlanStream, AfterTheLastStepThereIsNothing) {
  ControlFixture job(1, {.seed = 5, .batch_size = 100, .epochs = 1});
  job.open();
  run_workers(job, 1, 11, [&](int, CoordinatorClient& client, PlanStream& plans) {
    EXPECT_FALSE(plans.next());
    EXPECT_FALSE(client.stop_requested());
  });
}

TEST(PlanStream, ASlowReaderStillGetsEveryPlan) {
  ControlFixture job(2, {.seed = 5, .batch_size = 10, .epochs = 2});
  job.open();
  std::atomic<bool> fast_done{false};
  run_workers(job, 2, 1, [&](int rank, CoordinatorClient&, PlanStream& plans) {
    if (rank == 1) {
      while (!fast_done) std::this_thread::yield();
    }
    for (std::uint64_t step = 1; step <= job.planner().total_steps(); ++step) {
      expect_plan(job, rank, step, plans.next());
    }
    fast_done = true;
  });
}

// Both the bound on what is sent ahead and the agreement that a stop needs: workers at different
// steps end after the same one, which is within the fastest one's prefetch.
TEST(PlanStream, AStopEndsEveryWorkerAfterTheSameStepSoon) {
  ControlFixture job(3, {.seed = 5, .batch_size = 10, .epochs = 100});
  job.open();
  constexpr std::uint64_t kFastest = 20;
  std::atomic<int> standing{0};
  std::atomic<bool> stopped{false};
  std::vector<std::uint64_t> last(3, 0);
  run_workers(job, 3, 1, [&](int rank, CoordinatorClient& client, PlanStream& plans) {
    const std::uint64_t taken = kFastest - 7 * static_cast<std::uint64_t>(rank);
    for (std::uint64_t step = 1; step <= taken; ++step) expect_plan(job, rank, step, plans.next());
    if (++standing == 3) {
      request_stop(job.address());
      stopped = true;
    }
    while (!stopped) std::this_thread::yield();
    std::uint64_t step = taken;
    while (const auto plan = plans.next()) EXPECT_EQ(plan->step, ++step);
    last[static_cast<std::size_t>(rank)] = step;
    EXPECT_TRUE(client.stop_requested());
  });
  EXPECT_EQ(last[0], last[1]);
  EXPECT_EQ(last[0], last[2]);
  EXPECT_GE(last[0], kFastest);
  EXPECT_LE(last[0], kFastest + static_cast<std::uint64_t>(job.options(0).prefetch));
}

TEST(PlanStream, AStopBeforeTheFirstStepEndsAtOnce) {
  ControlFixture job(2, {.seed = 5, .batch_size = 10, .epochs = 100});
  job.coordinator().request_stop("a test");
  job.open();
  run_workers(job, 2, 7, [&](int, CoordinatorClient& client, PlanStream& plans) {
    EXPECT_FALSE(plans.next());
    EXPECT_TRUE(client.stop_requested());
  });
}

TEST(PlanStream, AFailureEndsTheWait) {
  ControlFixture job(2, {.seed = 5, .batch_size = 100, .epochs = 4});
  job.open();
  std::atomic<bool> waiting{false};
  run_workers(job, 2, 1, [&](int rank, CoordinatorClient& client, PlanStream& plans) {
    if (rank == 1) {
      while (!waiting) std::this_thread::yield();
      return client.report_failure("out of memory", 3);
    }
    waiting = true;
    const auto drain = [&] {
      while (plans.next()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    };
    EXPECT_THROW(drain(), SystemError);
    EXPECT_THAT(client.failure()->describe(), testing::HasSubstr("rank 1 on host-b"));
  });
}

TEST(PlanStream, WorkersAreToldWhenTheCoordinatorGoes) {
  ControlFixture job(2, {.seed = 5, .batch_size = 10, .epochs = 100});
  job.open();
  std::atomic<int> streaming{0};
  std::vector<std::thread> workers;
  for (int rank = 0; rank < 2; ++rank) {
    workers.emplace_back([&, rank] {
      const auto client = job.client(rank);
      job.join(*client);
      const auto plans = client->stream_plans(1);
      plans->next();
      ++streaming;
      const auto drain = [&] {
        while (plans->next()) continue;
      };
      EXPECT_THROW(drain(), SystemError);
      EXPECT_THAT(client->failure()->describe(), testing::HasSubstr("is gone"));
    });
  }
  while (streaming < 2) std::this_thread::yield();
  const Clock::time_point begin = Clock::now();
  job.destroy_coordinator();
  EXPECT_LT(seconds_since(begin), 1.0);
  for (std::thread& worker : workers) worker.join();
  EXPECT_LT(seconds_since(begin), 2.0);
}

TEST(PlanStream, IsDestroyedPromptlyInTheMiddle) {
  ControlFixture job(1, {.seed = 5, .batch_size = 10, .epochs = 100});
  job.open();
  const auto client = job.client(0);
  job.join(*client);
  auto plans = client->stream_plans(1);
  plans->next();
  const Clock::time_point begin = Clock::now();
  plans.reset();
  EXPECT_LT(seconds_since(begin), 0.5);
  EXPECT_FALSE(job.coordinator().failure()) << "closing in good order is no loss";
}

// What the read-ahead is for: steps of a millisecond on four workers hardly ever wait for a plan.
TEST(PlanStream, StepsDoNotWaitForPlans) {
  ControlFixture job(4, {.seed = 5, .batch_size = 256, .max_steps = 1000});
  job.open();
  std::vector<double> waited(4);
  const Clock::time_point begin = Clock::now();
  run_workers(job, 4, 1, [&](int rank, CoordinatorClient&, PlanStream& plans) {
    while (plans.next()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    waited[static_cast<std::size_t>(rank)] = plans.seconds_waited();
  });
  const double seconds = seconds_since(begin);
  for (const double w : waited) {
    std::cout << "waited " << w << " s of " << seconds << " s in 1000 steps\n";
    EXPECT_GT(w, 0.0);
    EXPECT_LT(w, 0.5 * seconds);
  }
}

}  // namespace
}  // namespace gsplit
