// `gsplit status` and `gsplit stop`: look at a running job, end it in good order.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "runtime/cli/command.h"
#include "runtime/control/client.h"
#include "runtime/control/contact_card.h"

namespace gsplit {
namespace {

struct StatusOptions {
  std::string address;
  std::string tls_ca;
  std::string token_file;
  bool json = false;
};

std::string address_of(const StatusOptions& options) {
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

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::shared_ptr<StatusOptions>& options) {
  CLI::App* command = app.add_subcommand(name, description);
  command->add_option("ADDR", options->address,
                      "HOST:PORT of the coordinator, as the run's log prints it; default: "
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
  status->add_flag("--json", options->json, "One JSON object");
  status->callback([options, &action] {
    action = [options] {
      std::cout << query_status(contact_of(*options), options->json) << std::endl;
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
