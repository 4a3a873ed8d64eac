// How a process of a training job ends before its time: because a signal asks it to, or because the
// job has failed. Whatever the training thread is doing then, the user is told, by one process of
// the job, and the process ends.
//
//   SIGUSR1          the job stops after the next step
//   SIGINT           the same; a second one ends the process at once
//   SIGTERM          the same where the process is the whole job. A launcher sends it also when a
//                    rank has died: so a rank first listens whether a failure is known, and asks
//                    the coordinator to stop the job only if there is none. Before the ranks have
//                    met there is nothing to stop in good order, and the process ends.
//   SIGPIPE          ignored: a dead launcher leaves pipes that nobody reads
//
// Nor does a launcher read that is stopped, or (Open MPI) that waits between SIGTERM and SIGKILL:
// what a rank prints then is lost once the pipe is full, rather than that it waits.
#pragma once

#include <chrono>
#include <csignal>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/base/log.h"
#include "runtime/control/coordinator.h"
#include "runtime/control/last_word.h"

namespace gsplit {

/// Whether a run that stopped for this reason (run_end's) did so because its launcher died, and not
/// because somebody asked it to.
bool is_launcher_loss(const std::string& reason);

/// Thread-safe. At most one at a time. It waits for signals in a thread of its own; they stay
/// blocked after it, so that a late one does not spoil the exit code.
class Supervisor {
 public:
  struct Options {
    std::optional<int> rank;  ///< of this process in its job; nothing where it is the whole job
    std::string host;
    std::chrono::milliseconds deadline{30000};
  };
  /// REQUIRES: this process has no other threads yet: they inherit what is blocked here.
  Supervisor(const Options& options, const Log& log);
  ~Supervisor();

  /// Why the job is to stop, once a signal has asked for it: "SIGUSR1 to rank 2 on node-7", or
  /// that the launcher has ended; for ClientOptions. Empty until then.
  std::string stop_reason() const;

  /// The handle of the flag by which the processes of a job agree on who speaks: made by rank 0,
  /// handed to the others over the communicator.
  LastWord::Handle share_word();
  void adopt_word(LastWord::Handle word);
  /// All ranks have met: from now on the coordinator knows when one is missing.
  void note_met();

  /// The job has failed: prints the line, unless another process or thread has the word, and ends
  /// this process after a while if it does not end by itself. Before the ranks share the word, a
  /// process that has itself been suspended for the deadline does not speak: the others have missed
  /// it and said so.
  void failed(const WorkerFailure& failure);
  /// What the failure that was told ends with; nothing where there was none.
  std::optional<ExitCode> code_of_failure() const;

  /// While it lives, the process ends if something takes longer than the deadline and a bit more.
  class Limit {
   public:
    /// `line`: what to say then; none: end quietly with `code`, nothing being lost.
    Limit(Supervisor& supervisor, const std::string& line, ExitCode code);
    ~Limit();
    Limit(const Limit&) = delete;
    Limit& operator=(const Limit&) = delete;

   private:
    Supervisor& supervisor_;
  };

 private:
  using Clock = std::chrono::steady_clock;
  /// The end of the process, when nothing comes in between.
  struct End {
    Clock::time_point time;
    std::string line;  ///< to say before
    ExitCode code;
  };

  void watch(const std::stop_token& ending);
  void take_signal(int signal);
  void look_at_clock();
  /// REQUIRES: mutex_ held.
  void ask_to_stop(int signal);
  bool was_suspended(Clock::time_point now);
  void speak(const std::string& line);
  void keep_word() const;
  [[noreturn]] void leave(ExitCode code) const;
  std::string own_place() const;

  const Options options_;
  const Log& log_;
  const int launcher_;
  LastWord word_;  // initialised by options_

  mutable std::mutex mutex_;
  std::string stop_reason_;
  bool met_ = false;
  bool failed_ = false;
  std::optional<Clock::time_point> decision_;  // on a SIGTERM that has come
  std::optional<End> end_after_failure_;
  std::optional<End> limit_;
  std::optional<Clock::time_point> spoken_;
  Clock::time_point last_look_ = Clock::now();
  bool was_suspended_ = false;
  bool interrupted_ = false;  // of thread_

  std::jthread thread_;
};

}  // namespace gsplit
