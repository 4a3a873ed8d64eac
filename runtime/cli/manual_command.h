// The subcommand that writes the manual page.
#pragma once

#include "runtime/cli/command.h"

namespace gsplit {

/// Describes `app` as it is when the action runs; it must live until then.
void add_manual_command(CLI::App& app, Action& action);

}  // namespace gsplit
