// gsplit coordinator: the coordinator of one run as a process of its own.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <memory>
#include <string>

#include "runtime/cli/command.h"
#include "runtime/cli/log.h"
#include "runtime/control/coordinator.h"
#include "runtime/control/credentials.h"
#include "runtime/control/host_addresses.h"

namespace gsplit {
namespace {

struct CoordinatorFlags {
  int workers = 0;
  std::string listen = "127.0.0.1:0";
  std::string certificate;
  std::string private_key;
  std::string token_file;
  std::string make_credentials;
  double deadline_s = 30;
};

constexpr std::chrono::milliseconds kLook{50};
constexpr std::chrono::milliseconds kPatienceAfterFailure{2000};

std::string host_in(const std::string& address) { return address.substr(0, address.rfind(':')); }

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  return host == "localhost" || host == "[::1]";
}

/// What was made for it by hand. On loopback there need not be any: workers there find what it
/// makes itself.
std::optional<Identity> identity_of(const CoordinatorFlags& flags) {
  const bool all =
      !flags.certificate.empty() && !flags.private_key.empty() && !flags.token_file.empty();
  const bool none =
      flags.certificate.empty() && flags.private_key.empty() && flags.token_file.empty();
  if (all) return read_identity(flags.certificate, flags.private_key, flags.token_file);
  if (none && is_loopback(host_in(flags.listen))) return std::nullopt;
  throw UsageError(
      fmt::format("the coordinator does not serve on {}, which other hosts can reach, without TLS "
                  "and a token",
                  flags.listen),
      "give --tls-cert, --tls-key and --token-file; gsplit coordinator --make-credentials DIR "
      "makes "
      "them");
}

CoordinatorOptions options_of(const CoordinatorFlags& flags) {
  if (flags.workers < 1) {
    throw UsageError("gsplit coordinator without --workers", "give their number");
  }
  CoordinatorOptions options{
      .world_size = flags.workers,
      .bind_address = flags.listen,
      .deadline = std::chrono::milliseconds(std::llround(flags.deadline_s * 1000)),
      .identity = identity_of(flags),
      .apart = true};
  const std::string host = host_in(flags.listen);
  if (host == "0.0.0.0" || host == "[::]") options.hosts = host_addresses();
  return options;
}

/// Blocked in all threads to come, and taken by turns.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&set_, signal);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  /// The next one that comes within the time; 0: none.
  int take(std::chrono::milliseconds time) const {
    const timespec wait{time.count() / 1000, (time.count() % 1000) * 1000000};
    const int signal = sigtimedwait(&set_, nullptr, &wait);
    return signal > 0 ? signal : 0;
  }

 private:
  sigset_t set_;
};

ExitCode end_of(const Coordinator& coordinator, const Log& log) {
  if (const auto failure = coordinator.failure()) {
    coordinator.linger_after_failure(kPatienceAfterFailure);
    throw Error(ExitCode{failure->exit_code}, failure->describe());
  }
  const std::string reason = coordinator.stop_reason();
  log.info(reason.empty() ? "all workers have finished" : "stopped (" + reason + ")");
  return reason.empty() ? ExitCode::kDone : ExitCode::kStopped;
}

ExitCode serve(const CoordinatorFlags& flags) {
  const Signals signals;
  const Log log = make_log(false);
  Coordinator coordinator(options_of(flags));
  log.info(
      fmt::format("coordinator: {}, waiting for {} workers", coordinator.address(), flags.workers));
  if (!coordinator.card_problem().empty()) {
    log.warning("gsplit status and stop will need --token-file: " + coordinator.card_problem());
  }
  while (!coordinator.has_finished() && !coordinator.failure()) {
    const int signal = signals.take(kLook);
    if (signal == 0) continue;
    const bool again = !coordinator.stop_reason().empty() && signal != SIGUSR1;
    coordinator.request_stop(fmt::format("SIG{} to the coordinator", sigabbrev_np(signal)));
    if (again || !coordinator.has_begun()) return ExitCode::kStopped;
  }
  return end_of(coordinator, log);
}

ExitCode run(const CoordinatorFlags& flags) {
  if (flags.make_credentials.empty()) return serve(flags);
  write_identity(flags.make_credentials);
  make_log(false).info(fmt::format(
      "{0}/cert.pem is for coordinator and workers, {0}/token for both and secret, {0}/key.pem for "
      "the coordinator alone and secret",
      flags.make_credentials));
  return ExitCode::kDone;
}

}  // namespace

void add_coordinator_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "coordinator", "The coordinator of one run, in a process of its own instead of rank 0's");
  const auto flags = std::make_shared<CoordinatorFlags>();
  command->add_option("--workers", flags->workers, "of the run that will come")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--listen", flags->listen,
                      "HOST:PORT; port 0: any free one. Off loopback the three files are needed");
  command->add_option("--tls-cert", flags->certificate, "its certificate (PEM)");
  command->add_option("--tls-key", flags->private_key, "the key of it, in a file of mode 600");
  command->add_option("--token-file", flags->token_file,
                      "what workers have to show, in a file of mode 600");
  command->add_option("--make-credentials", flags->make_credentials,
                      "make the three files in this directory, and stop");
  command
      ->add_option("--deadline", flags->deadline_s,
                   "seconds after which a silent worker ends the run")
      ->check(CLI::Range(0.1, 86400.0));
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace gsplit
