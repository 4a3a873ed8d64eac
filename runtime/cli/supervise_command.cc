// gsplit supervise: starts a training job again when it fails.
#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "runtime/cli/command.h"
#include "runtime/cli/log.h"
#include "runtime/supervise/supervise.h"

namespace gsplit {
namespace {

struct SuperviseFlags {
  SuperviseOptions options{.probe = "ssh -n -o BatchMode=yes -o ConnectTimeout=5 {host} true 2>&-"};
  double backoff_s = 5;
  double max_backoff_s = 300;
  double grace_s = 120;
};

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(std::llround(seconds * 1000));
}

SuperviseOptions checked(const SuperviseFlags& flags) {
  SuperviseOptions options = flags.options;
  options.backoff = milliseconds(flags.backoff_s);
  options.max_backoff = milliseconds(flags.max_backoff_s);
  options.grace = milliseconds(flags.grace_s);
  return options;
}

}  // namespace

void add_supervise_command(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<SuperviseFlags>();
  SuperviseOptions& options = flags->options;
  CLI::App* command = app.add_subcommand(
      "supervise", "Run a training job, and again from its checkpoint whenever it fails");
  command->add_option("COMMAND", options.command,
                      "behind --: the launcher and gsplit train with its flags");
  command
      ->add_option("--max-restarts", options.max_restarts,
                   "in a row without a later checkpoint; each later checkpoint counts anew")
      ->check(CLI::Range(0, 1000000));
  const auto seconds = CLI::Range(0.0, 86400.0);
  command->add_option("--backoff", flags->backoff_s, "seconds before the first restart; doubles")
      ->check(seconds);
  command->add_option("--max-backoff", flags->max_backoff_s, "seconds between restarts at most")
      ->check(seconds);
  command
      ->add_option("--grace", flags->grace_s,
                   "seconds for the job to end once asked to stop, then it is killed; and for a "
                   "launcher whose run has ended")
      ->check(seconds);
  command->add_option("--run-dir", options.run_dir, "of the run; that of COMMAND");
  command->add_option("--hostfile", options.hostfile,
                      "NAME slots=N a line: hosts that do not answer are left out; COMMAND has "
                      "{hostfile}, {hosts}, {ranks} in place of the others");
  command->add_option("--probe", options.probe, "shell command that succeeds where {host} answers");
  command->add_option("--min-hosts", options.min_hosts, "with fewer the job is not started")
      ->check(CLI::Range(1, 1000000));
  command->callback([flags, &action] {
    action = [flags] { return supervise(checked(*flags), make_log(false)); };
  });
}

}  // namespace gsplit
