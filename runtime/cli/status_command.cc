// `gsplit status` and `gsplit stop`: look at a running job, end it in good order.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "runtime/cli/command.h"
#include "runtime/control/client.h"
#include "runtime/control/contact_card.h"
#include "runtime/report/run_digest.h"

namespace gsplit {
namespace {

namespace fs = std::filesystem;

struct StatusOptions {
  std::string address;  ///< or a run directory
  std::string tls_ca;
  std::string token_file;
  bool json = false;
  bool watch = false;
  double interval_s = 2;
};

/// Of --seeds the one that was begun last.
RunDigest latest_run(const fs::path& run_dir) {
  RunDigest latest;
  for (const fs::path& directory : runs_in(run_dir)) {
    RunDigest run = digest_run(directory);
    if (latest.path.empty() || run.start_time > latest.start_time) latest = std::move(run);
  }
  return latest;
}

bool names_run_dir(const std::string& text) {
  std::error_code unreadable;
  return fs::is_directory(text, unreadable);
}

bool has_ended(const RunDigest& run) { return run.state != "running" && run.state != "failed"; }

std::string address_of(const StatusOptions& options) {
  if (names_run_dir(options.address)) {
    const RunDigest run = latest_run(options.address);
    if (run.coordinator.empty()) {
      throw UsageError(options.address + " does not say where its coordinator is",
                       "give HOST:PORT, as the run's log prints it");
    }
    return run.coordinator;
  }
  if (!options.address.empty()) return options.address;
  const char* const fallback = std::getenv("GSPLIT_COORDINATOR");
  if (fallback != nullptr && *fallback != '\0') return fallback;
  return only_contact().first_address();
}

/// By the files given, or by what this host knows.
Contact contact_of(const StatusOptions& options) {
  if (options.tls_ca.empty() != options.token_file.empty()) {
    throw UsageError("--tls-ca and --token-file belong together", "give both or none");
  }
  const std::string address = address_of(options);
  if (options.tls_ca.empty()) return find_contact(address);
  return {address, read_credentials(options.tls_ca, options.token_file)};
}

std::string describe_end(const RunDigest& run, bool json) {
  const std::uint64_t steps = run.steps.total().last_step;
  if (json) {
    return nlohmann::json{{"ended", run.state},
                          {"reason", run.reason},
                          {"step", steps},
                          {"total_steps", run.total_steps}}
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  return "the run has ended: " + run.state + (run.reason.empty() ? "" : " (" + run.reason + ")") +
         " after step " + std::to_string(steps);
}

/// True while there is more to come.
bool print_status(const StatusOptions& options) {
  if (names_run_dir(options.address)) {
    const RunDigest run = latest_run(options.address);
    if (has_ended(run)) {
      std::cout << describe_end(run, options.json) << std::endl;
      return false;
    }
  }
  std::cout << query_status(contact_of(options), options.json) << std::endl;
  return true;
}

void clear_screen(bool json) {
  if (!json && isatty(STDOUT_FILENO) != 0) std::cout << "\x1b[H\x1b[2J";
}

/// Until the run ends. That nobody answers is an error only the first time.
ExitCode watch(const StatusOptions& options) {
  for (bool answered = false;; answered = true) {
    if (answered) {
      std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_s));
      clear_screen(options.json);
    }
    try {
      if (!print_status(options)) return ExitCode::kDone;
    } catch (const SystemError&) {
      if (!answered) throw;
      if (!options.json) std::cout << "the run is over: its coordinator is gone" << std::endl;
      return ExitCode::kDone;
    }
  }
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::shared_ptr<StatusOptions>& options) {
  CLI::App* command = app.add_subcommand(name, description);
  command->add_option(
      "ADDR", options->address,
      "HOST:PORT of the coordinator, as the run's log prints it, or the run directory; default: "
      "$GSPLIT_COORDINATOR, else your only run that this host takes part in");
  command->add_option("--tls-ca", options->tls_ca, "certificate of a gsplit coordinator");
  command->add_option("--token-file", options->token_file, "its token, in a file of mode 600");
  return command;
}

}  // namespace

void add_status_commands(CLI::App& app, Action& action) {
  const auto options = std::make_shared<StatusOptions>();
  CLI::App* status =
      add_command(app, "status", "Where each worker of a running job stands", options);
  status->add_flag("--json", options->json, "One JSON object; with --watch one a line");
  status->add_flag("--watch", options->watch, "Again and again, until the run ends");
  status->add_option("--interval", options->interval_s, "Seconds between two looks of --watch")
      ->check(CLI::Range(0.05, 86400.0));
  status->callback([options, &action] {
    action = [options] {
      if (options->watch) return watch(*options);
      print_status(*options);
      return ExitCode::kDone;
    };
  });
  CLI::App* stop =
      add_command(app, "stop", "Write a checkpoint at the next step and end the job", options);
  stop->callback([options, &action] {
    action = [options] {
      std::cout << request_stop(contact_of(*options)) << std::endl;
      return ExitCode::kDone;
    };
  });
}

}  // namespace gsplit
