// Where a worker stands, above all when it fails.
#include "runtime/control/progress.h"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>
#include <string>

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

}  // namespace
}  // namespace gsplit
