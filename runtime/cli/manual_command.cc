// gsplit manual: gsplit(1) for man, made from the command line's own description as --help is, so
// that the two never differ. Hidden: packages call it.
#include "runtime/cli/manual_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <string>
#include <vector>

namespace gsplit {
namespace {

/// What roff would take for its own: hyphens are not minus signs, and lines that begin with a dot
/// or an apostrophe are requests.
std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    const bool begins_line = safe.empty() || safe.back() == '\n';
    if (begins_line && (c == '.' || c == '\'')) safe += "\\&";
    if (c == '\\') {
      safe += "\\e";
    } else if (c == '-') {
      safe += "\\-";
    } else {
      safe += c;
    }
  }
  return safe;
}

/// ".SS" and the like, with its text as one argument.
std::string request(const char* name, const std::string& text) {
  std::string quoted = escaped(text);
  for (auto at = quoted.find('"'); at != std::string::npos; at = quoted.find('"', at + 4)) {
    quoted.replace(at, 1, "\\(dq");
  }
  return fmt::format(".{} \"{}\"\n", name, quoted);
}

/// "--hidden UINT [256]".
std::string usage_of(const CLI::Option& option) {
  std::string usage = option.get_positional() ? option.get_name(true) : option.get_name();
  if (option.get_items_expected_max() > 0 && !option.get_type_name().empty()) {
    usage += " " + option.get_type_name();
  }
  if (!option.get_default_str().empty()) usage += " [" + option.get_default_str() + "]";
  return usage;
}

std::string describe(const CLI::Option& option) {
  return ".TP\n" + request("B", usage_of(option)) + escaped(option.get_description()) + "\n";
}

std::string describe(const CLI::App& command) {
  std::string text = request("SS", "gsplit " + command.get_name());
  text += escaped(command.get_description()) + ".\n";
  for (const bool positional : {true, false}) {
    for (const CLI::Option* option : command.get_options()) {
      if (option->get_positional() == positional && !option->get_group().empty()) {
        text += describe(*option);
      }
    }
  }
  return text;
}

constexpr const char* kAfterCommands =
    R"(.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 2
Bad usage or bad data; trying again is useless.
.TP
.B 3
A peer or the system failed; a training run goes on with
.BR \-\-resume .
.TP
.B 130
Stopped in good order, with a checkpoint.
.PP
A failure is one line on standard error that begins with
.BR gsplit: .
.SH ENVIRONMENT
.TP
.B GSPLIT_CACHE
The folder of partitions that are kept; else
.I $XDG_CACHE_HOME/gsplit
or
.IR ~/.cache/gsplit .
.TP
.B GSPLIT_COORDINATOR
The address that
.B gsplit status
and
.B gsplit stop
ask where none is given.
.TP
.B GSPLIT_CUDA_MODULE
The module that computes on GPUs, where it is not beside the executable.
.TP
.B OMP_WAIT_POLICY
.B passive
unless it is set: workers share the cores of their host.
.SH FILES
.TP
.I RUN_DIR/config.yaml, events.jsonl, checkpoints/, trace.json
What a run leaves.
.TP
.I $XDG_RUNTIME_DIR/gsplit/, /tmp/gsplit\-UID/
By which
.B gsplit status
finds the runs of this host.
.SH SEE ALSO
.BR mpirun (1),
.BR srun (1);
/usr/share/doc/gsplit/docs
)";

std::string manual(const CLI::App& app) {
  std::string text = ".TH GSPLIT 1 \"\" \"gsplit " GSPLIT_VERSION "\" \"User Commands\"\n";
  text += ".SH NAME\n" + escaped(app.get_description()).replace(0, 7, "gsplit \\-") + "\n";
  text += ".SH SYNOPSIS\n.B gsplit\n.I COMMAND\n[OPTION]...\n.SH COMMANDS\n";
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) text += describe(*command);
  }
  return text + kAfterCommands;
}

}  // namespace

void add_manual_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand("manual", "The manual page, for man");
  command->group("");  // not in --help
  command->callback([&app, &action] {
    action = [&app] {
      std::cout << manual(app) << std::flush;
      return ExitCode::kDone;
    };
  });
}

}  // namespace gsplit
