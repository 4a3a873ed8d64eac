#include "runtime/train/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "graph/json_input.h"
#include "kernels/base/error.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/text_file.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

/// How long a run waits for the end of the one before it, whose processes may be dying still.
constexpr std::chrono::seconds kLockPatience{10};

/// Seconds since 1970 with microseconds.
double now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(since).count()) /
         1e6;
}

/// Whether an event belongs to what a run does after `step`: a later step or the end. A line that
/// a sudden death has cut short, or whose step is none, does, too.
bool comes_after(const std::string& line, std::uint64_t step) {
  const auto event = parse_json<nlohmann::json>(line);
  if (!event.is_object()) return true;
  if (text_or(event, "event", "") == "run_end") return true;
  if (text_or(event, "path", "") == "checkpoints/final") return true;
  if (!event.contains("step")) return false;
  const auto its_step = whole_number<std::uint64_t>(event["step"]);
  return !its_step || *its_step > step;
}

/// events.jsonl cut in two.
struct SplitEvents {
  std::string before;
  std::string after;
};

SplitEvents split_events(const std::string& text, std::uint64_t step) {
  std::istringstream lines(text);
  SplitEvents split;
  for (std::string line; std::getline(lines, line);) {
    const bool cut_short = lines.eof();
    if (split.after.empty() && !cut_short && !comes_after(line, step)) {
      split.before += line + "\n";
    } else {
      split.after += line + "\n";
    }
  }
  return split;
}

fs::path first_free_events_file(const fs::path& directory) {
  for (int n = 1;; ++n) {
    fs::path file = directory / ("events." + std::to_string(n) + ".jsonl");
    if (!fs::exists(file)) return file;
  }
}

bool is_events_file(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with("events.") && name.ends_with("jsonl");
}

}  // namespace

void check_run_directory(const fs::path& path, bool overwrite, bool resume) {
  if (!overwrite && !resume && RunDirectory(path).holds_run()) {
    throw UsageError("--run-dir " + path.string() + " holds a run already",
                     "choose another directory, or give --resume or --overwrite");
  }
}

RunDirectory::~RunDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

bool RunDirectory::holds_run() const { return fs::exists(path_ / "events.jsonl"); }

void RunDirectory::lock() {
  if (lock_ >= 0) return;
  const fs::path file = path_ / ".lock";
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  const auto expiry = std::chrono::steady_clock::now() + kLockPatience;
  int error = descriptor < 0 ? errno : 0;
  while (error == 0 && ::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const bool busy = errno == EWOULDBLOCK || errno == EINTR;
    if (!busy || std::chrono::steady_clock::now() >= expiry) error = errno;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (error == 0) {
    lock_ = descriptor;
    return;
  }
  if (descriptor >= 0) ::close(descriptor);
  if (error == EWOULDBLOCK) {
    throw SystemError("--run-dir " + path_.string() + " is being written by another run",
                      "wait until it has ended, or choose another directory");
  }
  throw UsageError("--run-dir " + path_.string() + " cannot be written: " + std::strerror(error),
                   "choose a directory that can be written");
}

void RunDirectory::make() {
  std::error_code error;
  fs::create_directories(checkpoints(), error);
  if (error) {
    throw UsageError("--run-dir " + path_.string() + " cannot be made: " + error.message(),
                     "choose a directory that can be written");
  }
}

void RunDirectory::start_anew() {
  make();
  lock();
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
    if (is_events_file(entry.path())) fs::remove(entry.path(), ignored);
  }
  for (const char* entry : {"config.yaml", "checkpoints", "trace.json", "report.html"})
    fs::remove_all(path_ / entry, ignored);
  make();
  open_events();
}

void RunDirectory::start_again() {
  make();
  lock();
  if (holds_run()) fs::rename(path_ / "events.jsonl", first_free_events_file(path_));
  continue_after(0);
}

void RunDirectory::continue_after(std::uint64_t step) {
  GSPLIT_CHECK(lock_ >= 0);
  set_events_aside(step);
  clear_unfinished_checkpoints();
  std::error_code ignored;
  for (const StepCheckpoint& checkpoint : list_step_checkpoints(checkpoints())) {
    if (checkpoint.step <= step) continue;
    const fs::path aside = checkpoints() / ("damaged-" + checkpoint.directory.filename().string());
    fs::remove_all(aside, ignored);
    fs::rename(checkpoint.directory, aside);
  }
  for (const char* name : {"best", "final"}) fs::remove_all(checkpoints() / name, ignored);
  open_events();
}

void RunDirectory::set_events_aside(std::uint64_t after_step) {
  const fs::path events = path_ / "events.jsonl";
  const SplitEvents split = split_events(read_text(events), after_step);
  if (split.after.empty()) return;
  write_text(first_free_events_file(path_), split.after);
  // Renamed over the old file, so that a sudden death leaves the one or the other.
  const fs::path draft = path_ / ".events.jsonl";
  write_text(draft, split.before);
  fs::rename(draft, events);
}

void RunDirectory::clear_unfinished_checkpoints() {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints())) {
    if (entry.path().filename().string().starts_with(".")) fs::remove_all(entry.path(), ignored);
  }
}

void RunDirectory::open_events() {
  events_.open(path_ / "events.jsonl", std::ios::app);
  if (!events_) {
    throw UsageError("--run-dir " + path_.string() + " cannot be written",
                     "choose a directory that can be written");
  }
}

void RunDirectory::write_config(const std::string& yaml) {
  const fs::path draft = path_ / ".config.yaml";
  write_text(draft, yaml);
  fs::rename(draft, path_ / "config.yaml");
}

void RunDirectory::event(const std::string& name, const nlohmann::ordered_json& fields) {
  nlohmann::ordered_json line{{"event", name}, {"time", now()}};
  for (const auto& [key, value] : fields.items()) line[key] = value;
  // In one piece, so that whoever reads along meets a line with its end.
  events_ << line.dump() + "\n" << std::flush;
  if (!events_) {
    throw SystemError(
        "cannot write " + (path_ / "events.jsonl").string() + ": " + std::strerror(errno),
        "check free space");
  }
}

void RunDirectory::flush_events() { flush_to_disk(path_ / "events.jsonl"); }

}  // namespace gsplit
