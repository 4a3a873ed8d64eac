#include "runtime/supervise/supervise.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <map>
#include <optional>

#include "runtime/supervise/child.h"
#include "runtime/supervise/fill.h"
#include "runtime/supervise/hosts.h"
#include "runtime/supervise/run_state.h"
#include "runtime/train/text_file.h"

namespace gsplit {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kTick{100};

double seconds(milliseconds time) { return static_cast<double>(time.count()) / 1000; }

/// Underscores in names of flags are hyphens.
std::string flag_of(std::string word) {
  word = word.substr(0, word.find('='));
  std::ranges::replace(word, '_', '-');
  return word;
}

std::optional<std::string> value_of(const std::vector<std::string>& command,
                                    const std::string& flag) {
  for (std::size_t i = 0; i < command.size(); ++i) {
    if (flag_of(command[i]) != flag) continue;
    const std::size_t equals = command[i].find('=');
    if (equals != std::string::npos) return command[i].substr(equals + 1);
    if (i + 1 < command.size()) return command[i + 1];
  }
  return std::nullopt;
}

/// The same command, to go on from the latest checkpoint.
std::vector<std::string> resuming(std::vector<std::string> command) {
  std::erase_if(command, [](const std::string& word) {
    const std::string flag = flag_of(word);
    return word.starts_with("--") && (flag == "--overwrite" || flag == "--resume");
  });
  command.emplace_back("--resume");
  return command;
}

/// Those that stop a job; SIGCHLD only wakes.
sigset_t signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

class Supervision {
 public:
  Supervision(const SuperviseOptions& options, const Log& log);
  ~Supervision();
  Supervision(const Supervision&) = delete;
  Supervision& operator=(const Supervision&) = delete;
  ExitCode run();

 private:
  /// How one start of the job has ended.
  struct Attempt {
    JobEnd end;
    int code;
    RunState state;
  };

  Attempt attempt();
  std::optional<std::vector<std::string>> command_for_hosts();
  int watch(Child& launcher);
  void look_after(Child& launcher);
  void await_run();
  void take_signal(const timespec& patience, Child* launcher);
  void pause(milliseconds time);
  bool may_restart(const Attempt& last);
  [[noreturn]] void give_up(const Attempt& last) const;

  const SuperviseOptions& options_;
  const Log& log_;
  std::filesystem::path run_dir_;
  std::filesystem::path own_hostfile_;
  int starts_ = 0;
  int restarts_ = 0;  ///< since the latest progress
  std::uint64_t progress_ = 0;
  bool asked_to_stop_ = false;
  bool was_locked_ = false;
  std::optional<Clock::time_point> ending_since_;  ///< asked to stop, or the run is over
  int pressed_ = 0;                                ///< how far the launcher was urged to end
};

Supervision::Supervision(const SuperviseOptions& options, const Log& log)
    : options_(options), log_(log), run_dir_(options.run_dir) {
  if (options.command.empty()) {
    throw UsageError("no command to supervise",
                     "gsplit supervise [flags] -- mpirun ... gsplit train ... --run-dir DIR");
  }
  if (run_dir_.empty()) run_dir_ = value_of(options.command, "--run-dir").value_or("");
  if (run_dir_.empty()) {
    throw UsageError("the command has no --run-dir, by which to know how the run has ended",
                     "add it, or give it to gsplit supervise");
  }
  if (value_of(options.command, "--seeds").value_or("1") != "1") {
    throw UsageError("the command has --seeds, and one run is supervised",
                     "supervise a run for each --seed");
  }
  if (!options.hostfile.empty()) {
    read_hostfile(options.hostfile);  // wrong ones are found before the first start
    own_hostfile_ =
        std::filesystem::temp_directory_path() / fmt::format("gsplit-hosts-{}", getpid());
  }
  const sigset_t set = signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Supervision::~Supervision() {
  std::error_code ignored;
  if (!own_hostfile_.empty()) std::filesystem::remove(own_hostfile_, ignored);
}

ExitCode Supervision::run() {
  progress_ = read_run_state(run_dir_).checkpoint_step;
  while (true) {
    const Attempt last = attempt();
    switch (last.end) {
      case JobEnd::kDone:
        log_.info(fmt::format("supervise: the run is {}", last.state.status));
        return ExitCode::kDone;
      case JobEnd::kStopped:
        log_.info("supervise: the run was stopped, and is not started again");
        return ExitCode::kStopped;
      case JobEnd::kUsage:
        return ExitCode::kUsage;
      case JobEnd::kNotWatched:
        throw UsageError(
            fmt::format("the command ended without an error, and {} has no run_end",
                        (run_dir_ / "events.jsonl").string()),
            "supervise gsplit train, on the host that writes --run-dir or one that shares it");
      case JobEnd::kFailed:
        if (!may_restart(last)) give_up(last);
    }
    if (asked_to_stop_) return ExitCode::kStopped;
  }
}

/// Counts, says so, and waits. False where the restarts are used up.
bool Supervision::may_restart(const Attempt& last) {
  if (last.state.checkpoint_step > progress_) restarts_ = 0;
  progress_ = last.state.checkpoint_step;
  if (restarts_ >= options_.max_restarts) return false;
  const double factor = std::pow(2.0, std::min(restarts_, 30));
  const milliseconds wait =
      std::min(options_.max_backoff, milliseconds(static_cast<std::int64_t>(
                                         factor * static_cast<double>(options_.backoff.count()))));
  ++restarts_;
  const std::string from =
      progress_ > 0 ? fmt::format("from step {}", progress_) : std::string("from the beginning");
  log_.warning(
      fmt::format("the job failed (its launcher's exit code: {}); it is started again in "
                  "{:g} s {}, restart {} of {} without a new checkpoint",
                  last.code, seconds(wait), from, restarts_, options_.max_restarts));
  pause(wait);
  return true;
}

void Supervision::give_up(const Attempt& last) const {
  throw SystemError(
      fmt::format("the job failed {} times in a row without a new checkpoint; the last exit code "
                  "of its launcher was {}, the latest checkpoint of {} is of step {}",
                  restarts_ + 1, last.code, run_dir_.string(), last.state.checkpoint_step),
      "see its messages above; --max-restarts allows more");
}

Supervision::Attempt Supervision::attempt() {
  const RunState before = read_run_state(run_dir_);
  const std::optional<std::vector<std::string>> command = command_for_hosts();
  if (!command) return {JobEnd::kFailed, -1, before};
  ++starts_;
  log_.info(fmt::format("supervise: start {}: {}", starts_, fmt::join(*command, " ")));
  Child launcher = Child::start(*command);
  const int code = watch(launcher);
  await_run();
  const RunState after = read_run_state(run_dir_);
  return {judge(before, after, code, asked_to_stop_), code, after};
}

/// Nothing where too few hosts answer.
std::optional<std::vector<std::string>> Supervision::command_for_hosts() {
  std::vector<std::string> command = starts_ == 0 ? options_.command : resuming(options_.command);
  if (options_.hostfile.empty()) return command;
  const std::vector<Host> all = read_hostfile(options_.hostfile);
  const std::vector<Host> hosts = hosts_that_answer(all, options_.probe);
  for (const Host& host : all) {
    if (std::ranges::find(hosts, host.name, &Host::name) != hosts.end()) continue;
    log_.warning(fmt::format("host {} does not answer and is left out", host.name));
  }
  if (static_cast<int>(hosts.size()) < options_.min_hosts) {
    log_.warning(fmt::format("{} of {} hosts answer, fewer than --min-hosts {}", hosts.size(),
                             all.size(), options_.min_hosts));
    return std::nullopt;
  }
  write_text(own_hostfile_, as_hostfile(hosts));
  const std::map<std::string, std::string> values{{"hostfile", own_hostfile_.string()},
                                                  {"hosts", std::to_string(hosts.size())},
                                                  {"ranks", std::to_string(slots_of(hosts))}};
  for (std::string& word : command) word = fill(word, values);
  return command;
}

/// The exit code of the launcher.
int Supervision::watch(Child& launcher) {
  was_locked_ = false;
  ending_since_.reset();
  pressed_ = 0;
  const timespec tick{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(kTick).count()};
  if (asked_to_stop_) launcher.signal(SIGUSR1);
  while (true) {
    if (const std::optional<int> code = launcher.poll()) return *code;
    take_signal(tick, &launcher);
    look_after(launcher);
  }
}

/// A launcher that does not end is made to: after a stop, and where the run in RUN_DIR has ended
/// without it, as that of a launcher that is suspended or waits for a host that is gone.
void Supervision::look_after(Child& launcher) {
  const bool locked = is_locked(run_dir_);
  const bool over = was_locked_ && !locked;
  was_locked_ |= locked;
  if (!asked_to_stop_ && !over) {
    ending_since_.reset();
    return;
  }
  if (!ending_since_) ending_since_ = Clock::now();
  const auto waited = Clock::now() - *ending_since_;
  if (pressed_ == 0 && waited >= options_.grace / 2) {
    pressed_ = 1;
    launcher.signal(SIGTERM);
    launcher.signal(SIGCONT);
  } else if (pressed_ == 1 && waited >= options_.grace) {
    pressed_ = 2;
    log_.warning("the launcher does not end and is killed");
    launcher.signal_group(SIGKILL);
  }
}

/// Ranks whose launcher was killed write a checkpoint before they end.
void Supervision::await_run() {
  const auto expiry = Clock::now() + options_.grace;
  while (is_locked(run_dir_) && Clock::now() < expiry) pause(kTick);
}

void Supervision::take_signal(const timespec& patience, Child* launcher) {
  const sigset_t set = signals();
  const int signal = sigtimedwait(&set, nullptr, &patience);
  if (signal <= 0 || signal == SIGCHLD) return;
  if (!asked_to_stop_) {
    log_.info(fmt::format("supervise: SIG{}: the job is asked to stop", sigabbrev_np(signal)));
    if (launcher != nullptr) launcher->signal(SIGUSR1);
  } else if (signal != SIGUSR1 && launcher != nullptr && pressed_ == 0) {
    pressed_ = 1;
    ending_since_ = Clock::now() - options_.grace / 2;
    launcher->signal(SIGTERM);
  }
  asked_to_stop_ = true;
}

/// Ends early when asked to stop.
void Supervision::pause(milliseconds time) {
  const bool asked_before = asked_to_stop_;
  const auto end = Clock::now() + time;
  while (Clock::now() < end && asked_to_stop_ == asked_before) {
    const auto left = std::min<std::chrono::nanoseconds>(kTick, end - Clock::now());
    if (left.count() <= 0) return;
    take_signal({.tv_sec = 0, .tv_nsec = left.count()}, nullptr);
  }
}

}  // namespace

ExitCode supervise(const SuperviseOptions& options, const Log& log) {
  return Supervision(options, log).run();
}

}  // namespace gsplit
