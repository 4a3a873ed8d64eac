// gsplit completion bash|zsh|fish: what a shell needs to complete the command line, made from the
// command line's own description, so that it is never another one. Hidden: packages call it.
#include "runtime/cli/completion_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace gsplit {
namespace {

struct Flag {
  std::string name;  ///< "--model"
  std::string help;  ///< one line
  bool takes_value = false;
  std::vector<std::string> choices;  ///< of the value; empty: anything
};

struct Command {
  std::string name;
  std::string help;
  std::vector<Flag> flags;
  std::vector<std::string> words;  ///< choices of its positional arguments
};

/// CLI11 writes them behind the type: "TEXT:{sage,gcn}".
std::vector<std::string> choices_in(const std::string& type) {
  const std::size_t begin = type.find('{');
  const std::size_t end = type.find('}', begin);
  std::vector<std::string> choices;
  if (end == std::string::npos) return choices;
  std::string rest = type.substr(begin + 1, end - begin - 1);
  for (std::size_t comma; (comma = rest.find(',')) != std::string::npos;) {
    choices.push_back(rest.substr(0, comma));
    rest.erase(0, comma + 1);
  }
  choices.push_back(rest);
  return choices;
}

/// For a list in a terminal.
std::string first_words(const std::string& text) {
  constexpr std::size_t kLongest = 70;
  std::string line = text.substr(0, text.find_first_of(";\n"));
  if (line.size() > kLongest) line = line.substr(0, line.rfind(' ', kLongest - 3)) + "...";
  return line;
}

Command describe(const CLI::App& app) {
  Command command{app.get_name(), first_words(app.get_description()), {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    const std::vector<std::string> choices = choices_in(option->get_type_name());
    for (const std::string& name : option->get_lnames()) {
      command.flags.push_back({"--" + name, first_words(option->get_description()),
                               option->get_items_expected_max() > 0, choices});
    }
    if (option->get_positional()) {
      command.words.insert(command.words.end(), choices.begin(), choices.end());
    }
  }
  return command;
}

std::vector<Command> describe_all(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) commands.push_back(describe(*command));
  }
  return commands;
}

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  return fmt::format("{}", fmt::join(words, between));
}

template <class Things, class Text>
std::string join_of(const Things& things, const char* between, const Text& text) {
  std::vector<std::string> words;
  for (const auto& thing : things) words.push_back(text(thing));
  return joined(words, between);
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// Within single quotes of bash and zsh.
std::string quoted(std::string text) {
  replace_all(text, "'", R"('\'')");
  return "'" + text + "'";
}

std::string bash_case(const Command& command, const Flag& flag) {
  if (!flag.takes_value) return "";
  const std::string reply =
      flag.choices.empty() ? "return"
                           : fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$current\")); return",
                                         joined(flag.choices));
  return fmt::format("    {}:{}) {} ;;\n", command.name, flag.name, reply);
}

/// Values without choices are left to bash: names of files.
std::string for_bash(const std::vector<Command>& commands) {
  const auto name = [](const auto& thing) { return thing.name; };
  std::string values;
  std::string flags;
  for (const Command& command : commands) {
    for (const Flag& flag : command.flags) values += bash_case(command, flag);
    flags +=
        fmt::format("    {}) words='{}' ;;\n", command.name, join_of(command.flags, " ", name));
  }
  return fmt::format(R"(# bash completion of gsplit, made by: gsplit completion bash
_gsplit() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} command='' words='' i
  if [[ $current == '=' ]]; then current=''; fi
  if [[ $previous == '=' ]]; then previous=${{COMP_WORDS[COMP_CWORD - 2]}}; fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${{COMP_WORDS[i]}} in
      {}) command=${{COMP_WORDS[i]}}; break ;;
    esac
  done
  COMPREPLY=()
  case $command:$previous in
{}  esac
  case $command in
    '') words='{} --help --version' ;;
{}  esac
  if [[ $current == -* || -z $command ]]; then COMPREPLY=($(compgen -W "$words" -- "$current")); fi
}}
complete -o default -F _gsplit gsplit
)",
                     join_of(commands, "|", name), values, join_of(commands, " ", name), flags);
}

std::string zsh_flag(const Flag& flag) {
  std::string help = flag.help;
  for (const char* special : {"\\", "[", "]", ":"}) {
    replace_all(help, special, std::string("\\") + special);
  }
  std::string spec = flag.name + (flag.takes_value ? "=" : "") + "[" + help + "]";
  if (flag.takes_value) {
    spec += flag.choices.empty() ? ":value:_files" : ":value:(" + joined(flag.choices) + ")";
  }
  return "      " + quoted(spec) + " \\\n";
}

std::string for_zsh(const std::vector<Command>& commands) {
  std::string names;
  std::string cases;
  for (const Command& command : commands) {
    std::string help = command.help;
    replace_all(help, ":", "\\:");
    names += "    " + quoted(command.name + ":" + help) + "\n";
    cases += fmt::format("    {}) _arguments \\\n", command.name);
    for (const Flag& flag : command.flags) cases += zsh_flag(flag);
    cases += "      '*:argument:_files' ;;\n";
  }
  return fmt::format(R"(#compdef gsplit
# zsh completion of gsplit, made by: gsplit completion zsh
_gsplit() {{
  local -a commands
  commands=(
{}  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{}  esac
}}
_gsplit "$@"
)",
                     names, cases);
}

/// fish knows two escapes within single quotes.
std::string fish_quoted(std::string text) {
  replace_all(text, "\\", "\\\\");
  replace_all(text, "'", "\\'");
  return "'" + text + "'";
}

std::string for_fish(const std::vector<Command>& commands) {
  std::string text = "# fish completion of gsplit, made by: gsplit completion fish\n";
  for (const Command& command : commands) {
    text += fmt::format("complete -c gsplit -n __fish_use_subcommand -x -a {} -d {}\n",
                        command.name, fish_quoted(command.help));
    for (const Flag& flag : command.flags) {
      std::string value;
      if (flag.takes_value) {
        value = flag.choices.empty() ? " -r" : " -x -a " + fish_quoted(joined(flag.choices));
      }
      text += fmt::format("complete -c gsplit -n '__fish_seen_subcommand_from {}' -l {}{} -d {}\n",
                          command.name, flag.name.substr(2), value, fish_quoted(flag.help));
    }
  }
  return text;
}

}  // namespace

void add_completion_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand("completion", "Completions for a shell");
  command->group("");  // not in --help
  const auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "which")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([shell, &app, &action] {
    action = [shell, &app] {
      const std::vector<Command> commands = describe_all(app);
      std::cout << (*shell == "bash"  ? for_bash(commands)
                    : *shell == "zsh" ? for_zsh(commands)
                                      : for_fish(commands))
                << std::flush;
      return ExitCode::kDone;
    };
  });
}

}  // namespace gsplit
