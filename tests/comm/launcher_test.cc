// Environments of launchers, as their documentation gives them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <ostream>
#include <string>

#include "comm/world.h"

namespace gsplit {
namespace {

using Environment = std::map<std::string, std::string>;

/// Replaces the launchers' variables of this process for its lifetime.
class ScopedEnvironment {
 public:
  explicit ScopedEnvironment(const Environment& environment) {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      saved_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
      unsetenv(name);
    }
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  }
  ~ScopedEnvironment() {
    for (const auto& [name, value] : saved_) {
      if (value) {
        setenv(name.c_str(), value->c_str(), 1);
      } else {
        unsetenv(name.c_str());
      }
    }
  }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  static constexpr const char* kNames[] = {"OMPI_COMM_WORLD_SIZE",
                                           "OMPI_COMM_WORLD_RANK",
                                           "PMIX_RANK",
                                           "PMI_SIZE",
                                           "PMI_RANK",
                                           "SLURM_STEP_ID",
                                           "SLURM_PROCID",
                                           "SLURM_NTASKS",
                                           "SLURM_STEP_NUM_TASKS"};
  std::map<std::string, std::optional<std::string>> saved_;
};

struct LauncherCase {
  const char* name;
  Environment environment;
  std::optional<int> rank;  ///< none: not under a launcher
};

std::ostream& operator<<(std::ostream& out, const LauncherCase& c) { return out << c.name; }

class Launcher : public ::testing::TestWithParam<LauncherCase> {};

TEST_P(Launcher, IsRecognised) {
  const ScopedEnvironment environment(GetParam().environment);
  EXPECT_EQ(under_launcher(), GetParam().rank.has_value());
  EXPECT_EQ(launcher_rank(), GetParam().rank.value_or(0));
}

const Environment kBatchShell{{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}};

Environment with(Environment base, const Environment& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Launcher,
    ::testing::Values(
        LauncherCase{"Shell", {}, std::nullopt},
        LauncherCase{"Mpirun", {{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}}, 3},
        LauncherCase{
            "MpirunOfOne", {{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}, 0},
        LauncherCase{"Hydra", {{"PMI_SIZE", "4"}, {"PMI_RANK", "2"}}, 2},
        LauncherCase{"BatchShell", kBatchShell, std::nullopt},
        LauncherCase{"InteractiveStep", with(kBatchShell, {{"SLURM_STEP_ID", "4294967290"}}),
                     std::nullopt},
        LauncherCase{
            "SrunPmix",
            with(kBatchShell, {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"PMIX_RANK", "1"}}),
            1},
        LauncherCase{"SrunPlain",
                     with(kBatchShell, {{"SLURM_STEP_ID", "2"}, {"SLURM_PROCID", "3"}}), 3},
        LauncherCase{"SrunOfOneTask",
                     with(kBatchShell, {{"SLURM_STEP_ID", "2"}, {"SLURM_STEP_NUM_TASKS", "1"}}),
                     std::nullopt},
        LauncherCase{
            "MpirunInBatch",
            with(kBatchShell, {{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "2"}}), 2},
        LauncherCase{"Nonsense", {{"PMIX_RANK", "undef"}}, std::nullopt}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace gsplit
