// Where a worker stands, above all when it fails.
#include "runtime/control/progress.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>
#include <string>

#include "runtime/control/rate_window.h"

namespace gsplit {
namespace {

TEST(PhaseScope, RestoresThePhaseBefore) {
  Progress progress;
  {
    const PhaseScope sampling(progress, Phase::kSampling);
    {
      const PhaseScope exchange(progress, Phase::kExchange);
      EXPECT_EQ(progress.phase.load(), Phase::kExchange);
    }
    EXPECT_EQ(progress.phase.load(), Phase::kSampling);
  }
  EXPECT_EQ(progress.phase.load(), Phase::kStarting);
}

TEST(PhaseScope, LeavesThePhaseThatFailed) {
  Progress progress;
  try {
    const PhaseScope compute(progress, Phase::kCompute);
    const PhaseScope reduce(progress, Phase::kAllReduce);
    throw std::runtime_error("peer gone");
  } catch (const std::runtime_error&) {
    EXPECT_EQ(progress.phase.load(), Phase::kAllReduce);
  }
}

TEST(Phase, NamesDiffer) {
  std::set<std::string> names;
  for (int phase = 0; phase <= static_cast<int>(Phase::kFinished); ++phase) {
    names.insert(name_of(static_cast<Phase>(phase)));
  }
  EXPECT_EQ(names.size(), 11u);
  EXPECT_EQ(names.count("unknown"), 0u);
}

TEST(RateWindow, IsTheMeanOfTheLastTenSeconds) {
  using std::chrono::milliseconds;
  RateWindow window;
  RateWindow::Clock::time_point time{};
  EXPECT_EQ(window.per_second(), 0);
  double count = 0;
  for (int beat = 0; beat < 200; ++beat) {  // 40 s of ten a second, then 20 s of 100
    window.add(time, count);
    time += milliseconds(200);
    count += 2;
  }
  EXPECT_NEAR(window.per_second(), 10, 1e-9);
  for (int beat = 0; beat < 100; ++beat) {
    count += 20;
    window.add(time, count);
    time += milliseconds(200);
  }
  EXPECT_NEAR(window.per_second(), 100, 1e-9);
  for (int beat = 0; beat < 75; ++beat) {  // and nothing
    window.add(time, count);
    time += milliseconds(200);
  }
  EXPECT_EQ(window.per_second(), 0);
  window.add(time, 5);  // another process, from the beginning
  EXPECT_EQ(window.per_second(), 0);
  window.add(time + milliseconds(100), 6);
  EXPECT_NEAR(window.per_second(), 10, 1e-9);
}

}  // namespace
}  // namespace gsplit
