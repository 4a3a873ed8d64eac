#include "runtime/train/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/train/stuck_launcher.h"

namespace gsplit {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{50};
/// After a SIGTERM: a broken connection is noticed within it.
constexpr milliseconds kListen{200};
/// For the training thread of a rank to end by itself, and for the others to hear of the failure.
constexpr milliseconds kGraceOfRank{2000};
/// For the launcher to end once the job has failed, which takes it one second or two.
constexpr std::chrono::seconds kPatienceForLauncher{10};
/// Beyond the deadline: the start and the end of a job on a machine that is busy.
constexpr milliseconds kSlack{5000};
/// Between the limits of two ranks: the first one speaks and the launcher ends the others.
constexpr milliseconds kStagger{500};
constexpr int kStaggeredRanks = 8;
/// For the other ranks to find out as well, as long as only a living process holds the word.
constexpr milliseconds kHoldName{4000};

sigset_t signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
  return set;
}

/// Never to wait for who reads what this process prints.
void drop_what_is_not_read() {
  for (const int output : {STDOUT_FILENO, STDERR_FILENO}) {
    fcntl(output, F_SETFL, fcntl(output, F_GETFL) | O_NONBLOCK);
  }
}

constexpr const char* kLauncherLossBegins = "the launcher of ";
constexpr const char* kLauncherLossEnds = " has ended";

/// One system call, so that lines of several processes do not mix.
void print_failure(const std::string& line) {
  const std::string text = "gsplit: " + line + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

/// Of the ranks that one launcher has started on this host.
std::string job_name(const Supervisor::Options& options) {
  return options.rank ? fmt::format("gsplit-{}-{}", getuid(), getppid()) : "";
}

}  // namespace

bool is_launcher_loss(const std::string& reason) {
  return reason.starts_with(kLauncherLossBegins) && reason.ends_with(kLauncherLossEnds);
}

Supervisor::Supervisor(const Options& options, const Log& log)
    : options_(options), log_(log), launcher_(getppid()), word_(job_name(options)) {
  const sigset_t set = signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  if (options.rank) drop_what_is_not_read();
  thread_ = std::jthread([this](const std::stop_token& ending) { watch(ending); });
}

Supervisor::~Supervisor() {
  const std::lock_guard lock(mutex_);
  keep_word();
}

LastWord::Handle Supervisor::share_word() {
  return options_.rank ? word_.share() : LastWord::Handle{};
}

void Supervisor::adopt_word(LastWord::Handle word) {
  const std::lock_guard lock(mutex_);
  word_.adopt(word);
}

void Supervisor::note_met() {
  const std::lock_guard lock(mutex_);
  met_ = true;
}

void Supervisor::failed(const WorkerFailure& failure) {
  const std::lock_guard lock(mutex_);
  if (failed_) return;
  failed_ = true;
  const milliseconds grace =
      options_.rank ? std::min(kGraceOfRank, options_.deadline) : options_.deadline;
  if (options_.rank) end_stuck_launcher_after(kPatienceForLauncher);
  end_after_failure_ = End{Clock::now() + grace, "", ExitCode{failure.exit_code}};
  speak(failure.describe());
}

std::optional<ExitCode> Supervisor::code_of_failure() const {
  const std::lock_guard lock(mutex_);
  if (!end_after_failure_) return std::nullopt;
  return end_after_failure_->code;
}

void Supervisor::watch(const std::stop_token& ending) {
  const sigset_t set = signals();
  const timespec tick{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(kTick).count()};
  while (!ending.stop_requested()) {
    const int signal = sigtimedwait(&set, nullptr, &tick);
    if (signal > 0) take_signal(signal);
    look_at_clock();
  }
}

void Supervisor::take_signal(int signal) {
  if (signal == SIGINT && std::exchange(interrupted_, true)) {
    _exit(static_cast<int>(ExitCode::kStopped));
  }
  const std::lock_guard lock(mutex_);
  if (signal != SIGTERM || !options_.rank) return ask_to_stop(signal);
  if (!decision_) decision_ = Clock::now() + kListen;
}

void Supervisor::ask_to_stop(int signal) {
  if (!stop_reason_.empty()) return;
  stop_reason_ = fmt::format("SIG{} to {}", sigabbrev_np(signal), own_place());
  if (options_.rank && getppid() != launcher_) {
    stop_reason_ = kLauncherLossBegins + own_place() + kLauncherLossEnds;
  }
  log_.info("asked to stop: the run ends after the step under way");
}

std::string Supervisor::stop_reason() const {
  const std::lock_guard lock(mutex_);
  return stop_reason_;
}

void Supervisor::look_at_clock() {
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  was_suspended(now);
  last_look_ = now;
  for (const std::optional<End>& end : {end_after_failure_, limit_}) {
    if (!end || now < end->time) continue;
    speak(end->line);
    leave(end->code);
  }
  if (!decision_ || now < *decision_ || failed_) return;
  decision_.reset();
  if (met_) return ask_to_stop(SIGTERM);
  speak(own_place() +
        " failed in starting at step 0: told to end (SIGTERM) before all ranks had met; start the "
        "job again, and if it was not you who ended it, see the launcher's message");
  leave(ExitCode::kSystem);
}

void Supervisor::keep_word() const {
  // Where this process is the whole job there are no others to keep silent.
  if (options_.rank && spoken_ && !word_.is_shared())
    std::this_thread::sleep_until(*spoken_ + kHoldName);
}

void Supervisor::leave(ExitCode code) const {
  keep_word();
  _exit(static_cast<int>(code));
}

std::string Supervisor::own_place() const {
  return fmt::format("rank {} on {}", options_.rank.value_or(0), options_.host);
}

/// Whether this process's own thread, which looks at the clock all the time, has failed to for the
/// deadline. REQUIRES: mutex_ held.
bool Supervisor::was_suspended(Clock::time_point now) {
  was_suspended_ |= options_.rank && now - last_look_ >= options_.deadline;
  return was_suspended_;
}

/// REQUIRES: mutex_ held.
void Supervisor::speak(const std::string& line) {
  if (line.empty() || (!word_.is_shared() && was_suspended(Clock::now()))) return;
  if (!word_.take()) return;
  print_failure(line);
  spoken_ = Clock::now();
}

Supervisor::Limit::Limit(Supervisor& supervisor, const std::string& line, ExitCode code)
    : supervisor_(supervisor) {
  const int place = std::min(supervisor.options_.rank.value_or(0), kStaggeredRanks);
  const std::lock_guard lock(supervisor.mutex_);
  supervisor.limit_ = End{Clock::now() + supervisor.options_.deadline + kSlack + place * kStagger,
                          line.empty() ? line : supervisor.own_place() + " " + line, code};
}

Supervisor::Limit::~Limit() {
  const std::lock_guard lock(supervisor_.mutex_);
  supervisor_.limit_.reset();
}

}  // namespace gsplit
