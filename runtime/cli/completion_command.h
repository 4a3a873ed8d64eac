// The subcommand that describes the others.
#pragma once

#include "runtime/cli/command.h"

namespace gsplit {

/// Describes `app` as it is when the action runs; it must live until then.
void add_completion_command(CLI::App& app, Action& action);

}  // namespace gsplit
