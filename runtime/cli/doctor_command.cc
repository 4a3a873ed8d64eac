// gsplit doctor.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "runtime/cli/command.h"
#include "runtime/train/diagnosis.h"

namespace gsplit {

void add_doctor_command(CLI::App& app, Action& action) {
  CLI::App* const doctor = app.add_subcommand(
      "doctor", "What this host has, what a run would use of it, and what is wrong");
  const auto json = std::make_shared<bool>(false);
  doctor->add_flag("--json", *json, "print one JSON object and nothing else");
  doctor->callback([json, &action] {
    action = [json] {
      const Diagnosis found = diagnose();
      std::cout << (*json ? as_json(found) : as_text(found)) << std::endl;
      return ExitCode::kDone;
    };
  });
}

}  // namespace gsplit
