// The hook for faults, and the flag that decides who speaks.
#include "runtime/control/fault.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "kernels/base/error.h"
#include "runtime/control/last_word.h"
#include "runtime/control/progress.h"

namespace gsplit {
namespace {

TEST(Fault, IsNoneNormallyAndForOtherRanks) {
  unsetenv("GSPLIT_FAULT");
  EXPECT_FALSE(Fault::from_environment(0));
  setenv("GSPLIT_FAULT", "rank=1,phase=sampling,step=3,signal=KILL", 1);
  EXPECT_FALSE(Fault::from_environment(0));
  EXPECT_TRUE(Fault::from_environment(1));
  setenv("GSPLIT_FAULT", "rank=1,phase=sampling,signal=KILL;rank=3,phase=compute,signal=exit", 1);
  EXPECT_FALSE(Fault::from_environment(2));
  EXPECT_TRUE(Fault::from_environment(3));
  for (const char* wrong : {"rank", "rank=x", "signal=BANG", "target=all", "colour=red"}) {
    setenv("GSPLIT_FAULT", wrong, 1);
    EXPECT_THROW(Fault::from_environment(0), UsageError) << wrong;
  }
  unsetenv("GSPLIT_FAULT");
}

TEST(Fault, StrikesInItsPhaseFromItsStepOnAndOnce) {
  const pid_t child = fork();
  if (child == 0) {
    setenv("GSPLIT_FAULT", "rank=0,phase=exchange,step=2,signal=exit", 1);
    Progress progress;
    progress.fault = Fault::from_environment(0);
    { const PhaseScope other(progress, Phase::kCompute); }
    { const PhaseScope too_early(progress, Phase::kExchange); }
    progress.step = 3;
    { const PhaseScope still_other(progress, Phase::kCompute); }
    { const PhaseScope now(progress, Phase::kExchange); }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST(LastWord, BelongsToOneCaller) {
  LastWord word;
  EXPECT_TRUE(word.take());
  EXPECT_FALSE(word.take());
}

TEST(LastWord, IsOneForAllProcessesAndOutlivesItsHolder) {
  LastWord ours;
  const LastWord::Handle handle = ours.share();
  if (handle.descriptor < 0) GTEST_SKIP() << "no shared memory here";
  const pid_t child = fork();
  if (child == 0) {
    LastWord theirs;
    theirs.adopt(handle);
    _exit(theirs.is_shared() && theirs.take() && !theirs.take() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(ours.take());
}

TEST(LastWord, BelongsToOneHolderOfANameBeforeTheyMeet) {
  const std::string name = "gsplit-test-" + std::to_string(getpid());
  LastWord first(name);
  LastWord second(name);
  LastWord other(name + "-other");
  EXPECT_TRUE(first.take());
  EXPECT_FALSE(second.take());
  EXPECT_TRUE(other.take());
}

TEST(LastWord, SaysWhenItCannotBeReached) {
  LastWord word;
  word.adopt({});
  word.adopt({.process = 1 << 22, .descriptor = 3});
  EXPECT_FALSE(word.is_shared());
  EXPECT_TRUE(word.take());
}

}  // namespace
}  // namespace gsplit
