#include "runtime/supervise/run_state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sstream>

#include "graph/json_input.h"
#include "kernels/base/error.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/supervisor.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

/// run_end is the last event, and short.
constexpr std::streamoff kTail = 1 << 16;

std::string tail_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream) return "";
  const std::streamoff size = stream.tellg();
  stream.seekg(std::max<std::streamoff>(0, size - kTail));
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// Of the last event, where that is run_end and whole.
void read_end(const fs::path& events, RunState& state) {
  std::istringstream lines(tail_of(events));
  for (std::string line; std::getline(lines, line);) {
    state.end_line.clear();
    if (lines.eof()) return;  // cut short by a sudden death
    const auto event = parse_json<nlohmann::json>(line);
    if (!event.is_object() || text_or(event, "event", "") != "run_end") continue;
    state.end_line = line;
    state.status = text_or(event, "status", "");
    state.reason = text_or(event, "reason", "");
  }
}

/// Whether the launcher's death ended the run, and nobody's wish: its ranks see it die, or on other
/// hosts are told to end by what it left there.
bool lost_launcher(const RunState& end, int code) {
  constexpr int kKilled = 128 + SIGKILL;
  constexpr int kLostDaemon = 205;  // Open MPI 4.1.4, when that of a host ends
  return is_launcher_loss(end.reason) ||
         ((code == kKilled || code == kLostDaemon) && end.reason.starts_with("SIGTERM to rank "));
}

}  // namespace

RunState read_run_state(const fs::path& run_dir) {
  RunState state;
  read_end(run_dir / "events.jsonl", state);
  const auto checkpoints = list_step_checkpoints(run_dir / "checkpoints");
  if (!checkpoints.empty()) state.checkpoint_step = checkpoints.front().step;
  return state;
}

JobEnd judge(const RunState& before, const RunState& after, int code, bool asked_to_stop) {
  const bool has_end = !after.end_line.empty() && (after.end_line != before.end_line || code == 0);
  if (has_end && after.status != "stopped") return JobEnd::kDone;
  if (asked_to_stop) return JobEnd::kStopped;
  if (has_end) return lost_launcher(after, code) ? JobEnd::kFailed : JobEnd::kStopped;
  switch (code) {
    case 0:
      return JobEnd::kNotWatched;
    case static_cast<int>(ExitCode::kUsage):
      return JobEnd::kUsage;
    case static_cast<int>(ExitCode::kStopped):
      return JobEnd::kStopped;
    default:
      return JobEnd::kFailed;
  }
}

bool is_locked(const fs::path& run_dir) {
  const int lock = ::open((run_dir / ".lock").c_str(), O_RDWR | O_CLOEXEC);
  if (lock < 0) return false;
  const bool locked = ::flock(lock, LOCK_EX | LOCK_NB) != 0;
  ::close(lock);
  return locked;
}

}  // namespace gsplit
