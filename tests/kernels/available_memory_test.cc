// What a process may still take, from files as the kernel writes them.
#include "kernels/base/available_memory.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

class AvailableMemory : public ::testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = root_.path() / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::uint64_t found() const { return available_memory(root_.path()); }
  TemporaryDirectory root_;
};

TEST_F(AvailableMemory, IsTheLeastOfSystemAndControlGroup) {
  EXPECT_EQ(found(), ~std::uint64_t{0});
  write("proc/meminfo", "MemTotal:  900 kB\nMemFree:  10 kB\nMemAvailable:   500 kB\n");
  EXPECT_EQ(found(), 500 * 1024u);
  write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(found(), 500 * 1024u);
  write("sys/fs/cgroup/memory.max", "300000\n");
  EXPECT_EQ(found(), 300000u);
  write("sys/fs/cgroup/memory.stat", "anon 100000\nfile 150000\n");
  EXPECT_EQ(found(), 200000u);
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "50000\n");
  write("sys/fs/cgroup/memory/memory.stat", "cache 9\ntotal_rss 60000\n");
  EXPECT_EQ(found(), 0u);
}

TEST_F(AvailableMemory, IsThatOfTheTightestGroupAround) {
  write("proc/self/cgroup", "4:memory:/slurm/job\n1:cpu:/other\n0::/user/session\n");
  write("sys/fs/cgroup/memory.max", "900000\n");
  write("sys/fs/cgroup/user/memory.max", "300000\n");
  write("sys/fs/cgroup/user/session/memory.max", "max\n");
  write("sys/fs/cgroup/other/memory.max", "1\n");
  EXPECT_EQ(found(), 300000u);
  write("sys/fs/cgroup/user/session/memory.max", "200000\n");
  EXPECT_EQ(found(), 200000u);
  write("sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes", "100000\n");
  EXPECT_EQ(found(), 100000u);
  write("sys/fs/cgroup/memory/slurm/job/memory.stat", "total_rss 40000\n");
  EXPECT_EQ(found(), 60000u);
}

TEST(AvailableMemoryHere, IsPositive) { EXPECT_GT(available_memory(), 1u << 20); }

}  // namespace
}  // namespace gsplit
