// Starts a training job, and starts it again from its checkpoint when it has failed.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/log.h"

namespace gsplit {

struct SuperviseOptions {
  /// The launcher and what it starts. {hostfile}, {hosts} and {ranks} stand for the hosts that
  /// answer: a file, their number, their slots.
  std::vector<std::string> command;
  std::filesystem::path run_dir;            ///< empty: the command's --run-dir
  int max_restarts = 3;                     ///< without a later checkpoint than before
  std::chrono::milliseconds backoff{5000};  ///< before the first restart; doubles
  std::chrono::milliseconds max_backoff{300000};
  /// For a job that was asked to stop, and for a launcher whose run has ended.
  std::chrono::milliseconds grace{120000};
  std::filesystem::path hostfile;  ///< empty: hosts are the command's affair
  std::string probe;               ///< sh command, {host} in it; exit code 0: the host answers
  int min_hosts = 1;
};

/// Returns kDone when the run is done, kStopped when it was stopped by anybody, kUsage when the
/// command is wrong (whoever found that has said so). Throws SystemError when the restarts are used
/// up, UsageError for options that make no sense.
///
/// SIGUSR1, SIGTERM and SIGINT to this process stop the job in good order: the launcher gets
/// SIGUSR1, after half of the grace SIGTERM, after all of it SIGKILL. A second SIGTERM or SIGINT
/// skips the first half.
ExitCode supervise(const SuperviseOptions& options, const Log& log);

}  // namespace gsplit
