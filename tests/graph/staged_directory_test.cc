#include "graph/staged_directory.h"

#include <gtest/gtest.h>

#include <iterator>

#include "graph/sha256.h"
#include "kernels/base/error.h"
#include "tests/graph/temporary_directory.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

std::size_t entries(const fs::path& directory) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

TEST(StagedDirectory, AppearsWholeOrNotAtAll) {
  const TemporaryDirectory scratch;
  const fs::path target = scratch / "target";
  {
    StagedDirectory staging(target);
    write_file(staging.path() / "file", "half");
    EXPECT_FALSE(fs::exists(target));
  }
  EXPECT_EQ(entries(scratch.path()), 0u);
  StagedDirectory staging(target);
  write_file(staging.path() / "file", "whole");
  staging.commit();
  EXPECT_EQ(read_file(target / "file"), "whole");
  EXPECT_EQ(entries(scratch.path()), 1u);
}

TEST(StagedDirectory, RefusesOrReplacesWhatIsThere) {
  const TemporaryDirectory scratch;
  const fs::path target = scratch / "target";
  fs::create_directory(target);
  write_file(target / "file", "old");
  write_file(target / "more", "old");
  EXPECT_THROW(StagedDirectory{target}, UsageError);
  StagedDirectory staging(target, StagedDirectory::Existing::kReplace);
  write_file(staging.path() / "file", "new");
  EXPECT_EQ(read_file(target / "file"), "old");
  staging.commit();
  EXPECT_EQ(read_file(target / "file"), "new");
  EXPECT_EQ(entries(target), 1u);
  EXPECT_EQ(entries(scratch.path()), 1u);
}

TEST(StagedDirectory, RemovesWhatKilledProcessesLeft) {
  const TemporaryDirectory scratch;
  const fs::path target = scratch / "target";
  fs::create_directories(scratch / ".target.unfinished-0");
  fs::create_directories(scratch / ".other.unfinished-0");
  StagedDirectory::remove_leftovers(target);
  EXPECT_FALSE(fs::exists(scratch / ".target.unfinished-0"));
  EXPECT_TRUE(fs::exists(scratch / ".other.unfinished-0"));
}

// FIPS 180-2, appendix B.1.
TEST(Sha256, IsThatOfTheStandard) {
  const std::string text = "abc";
  EXPECT_EQ(sha256_hex(std::as_bytes(std::span(text))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace gsplit
