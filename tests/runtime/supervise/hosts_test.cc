// Hostfiles, and who of their hosts answers.
#include "runtime/supervise/hosts.h"

#include <gtest/gtest.h>

#include <fstream>

#include "kernels/base/error.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

class HostsTest : public testing::Test {
 protected:
  std::vector<Host> read(const std::string& text) {
    std::ofstream(scratch_.path() / "hosts") << text;
    return read_hostfile(scratch_.path() / "hosts");
  }

  std::string refusal(const std::string& text) {
    try {
      read(text);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }

  TemporaryDirectory scratch_;
};

TEST_F(HostsTest, reads_what_mpirun_reads) {
  const auto hosts =
      read("# all\nnode-1 slots=4\n\n  10.0.0.2   # one slot\nc slots=2 max_slots=4\nnode-1\n");
  EXPECT_EQ(as_hostfile(hosts), "node-1 slots=5\n10.0.0.2 slots=1\nc slots=2\n");
  EXPECT_EQ(slots_of(hosts), 8);
}

TEST_F(HostsTest, names_the_line_that_is_wrong) {
  for (const char* line : {"a;reboot", "$(reboot)", "-oProxyCommand=x", "a'b", "a slots=0",
                           "a slots=x", "a slots", "a slots=2x", "a cores=2"}) {
    EXPECT_NE(refusal(std::string("fine\n") + line + "\n").find("hosts:2: "), std::string::npos)
        << line;
  }
  EXPECT_NE(refusal("# none\n").find("names no host"), std::string::npos);
}

TEST_F(HostsTest, leaves_out_who_does_not_answer) {
  const auto hosts = read("a slots=2\nb slots=3\nc\n");
  const auto living = hosts_that_answer(hosts, "[ {host} != b ]");
  EXPECT_EQ(as_hostfile(living), "a slots=2\nc slots=1\n");
  EXPECT_TRUE(hosts_that_answer(hosts, "exit 1 # {host}").empty());
}

TEST_F(HostsTest, this_host_is_not_asked) {
  const auto living = hosts_that_answer(read("localhost\nother\n"), "exit 1");
  EXPECT_EQ(as_hostfile(living), "localhost slots=1\n");
}

}  // namespace
}  // namespace gsplit
