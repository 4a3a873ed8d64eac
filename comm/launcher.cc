// What launchers tell their ranks through the environment.
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "comm/world.h"

namespace gsplit {
namespace {

std::optional<std::int64_t> number_in_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  const std::string_view text(value);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

/// Steps that Slurm makes by itself, such as the shell of sbatch or salloc, are numbered from the
/// top of 32 bits; srun's own count from 0.
constexpr std::int64_t kFirstReservedSlurmStep = 0xFFFFFFF0;

/// Rank among the tasks of an srun step without PMI. The variables of a batch shell look alike, but
/// it has no step of its own.
std::optional<std::int64_t> slurm_step_rank() {
  const auto step = number_in_environment("SLURM_STEP_ID");
  if (!step || *step >= kFirstReservedSlurmStep) return std::nullopt;
  auto tasks = number_in_environment("SLURM_STEP_NUM_TASKS");
  if (!tasks) tasks = number_in_environment("SLURM_NTASKS");
  if (!tasks || *tasks <= 1) return std::nullopt;
  return number_in_environment("SLURM_PROCID");
}

/// The innermost launcher comes first: mpirun may itself run inside a Slurm step.
std::optional<std::int64_t> rank_in_environment() {
  if (number_in_environment("OMPI_COMM_WORLD_SIZE")) {
    return number_in_environment("OMPI_COMM_WORLD_RANK").value_or(0);
  }
  if (const auto rank = number_in_environment("PMIX_RANK")) return rank;
  if (number_in_environment("PMI_SIZE")) return number_in_environment("PMI_RANK").value_or(0);
  return slurm_step_rank();
}

}  // namespace

bool under_launcher() { return rank_in_environment().has_value(); }

int launcher_rank() { return static_cast<int>(rank_in_environment().value_or(0)); }

}  // namespace gsplit
