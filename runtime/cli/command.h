// How a subcommand joins the executable: it adds its flags to the app and, when chosen, leaves its
// action.
#pragma once

#include <functional>

#include "kernels/base/error.h"

namespace CLI {
class App;
}

namespace gsplit {

/// What main() runs after parsing; throws Error.
using Action = std::function<ExitCode()>;

void add_bench_command(CLI::App& app, Action& action);
void add_coordinator_command(CLI::App& app, Action& action);
void add_doctor_command(CLI::App& app, Action& action);
void add_generate_command(CLI::App& app, Action& action);
void add_import_command(CLI::App& app, Action& action);
void add_inspect_command(CLI::App& app, Action& action);
void add_partition_command(CLI::App& app, Action& action);
void add_report_command(CLI::App& app, Action& action);
void add_train_command(CLI::App& app, Action& action);
void add_infer_command(CLI::App& app, Action& action);
void add_evaluate_command(CLI::App& app, Action& action);
void add_status_commands(CLI::App& app, Action& action);
void add_supervise_command(CLI::App& app, Action& action);

}  // namespace gsplit
