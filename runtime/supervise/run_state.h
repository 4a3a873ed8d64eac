// What a supervisor reads in RUN_DIR after its job has ended. The exit code of a launcher says
// little: it may be that of a signal, of a rank that was in order, or 0 after a failure.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace gsplit {

struct RunState {
  std::string end_line;               ///< of events.jsonl, with run_end; empty where there is none
  std::string status;                 ///< of run_end: done, early_stop or stopped
  std::string reason;                 ///< of run_end: who stopped the run
  std::uint64_t checkpoint_step = 0;  ///< of the latest checkpoint; 0: there is none
};

/// Never throws for what the directory holds or lacks. Of events.jsonl the end is read.
RunState read_run_state(const std::filesystem::path& run_dir);

/// How a job has ended, for who decides whether to start it again.
enum class JobEnd : std::uint8_t { kDone, kStopped, kUsage, kNotWatched, kFailed };

/// `code`: of the launcher. It decides only where RUN_DIR says nothing: 2 is bad usage, 130 a stop,
/// 0 a command that did not train in this directory. `asked_to_stop`: by whoever supervises. A run
/// that stopped because its launcher died has failed.
JobEnd judge(const RunState& before, const RunState& after, int code, bool asked_to_stop);

/// Whether a run writes to the directory now.
bool is_locked(const std::filesystem::path& run_dir);

}  // namespace gsplit
