#include "runtime/cli/yaml_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "comm/world.h"
#include "graph/small_file.h"
#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr const char* kFlag = "--config";

/// Takes --config and its value out of `arguments`.
std::optional<std::string> take_config(std::vector<std::string>& arguments) {
  const auto flag = std::find_if(arguments.begin(), arguments.end(), [](const std::string& a) {
    return a == kFlag || a.starts_with(std::string(kFlag) + "=");
  });
  if (flag == arguments.end()) return std::nullopt;
  const std::size_t equals = flag->find('=');
  if (equals != std::string::npos) {
    std::string file = flag->substr(equals + 1);
    arguments.erase(flag);
    return file;
  }
  if (flag + 1 == arguments.end()) {
    throw UsageError("--config lacks its file", "give a YAML file with flags as keys");
  }
  std::string file = *(flag + 1);
  arguments.erase(flag, flag + 2);
  return file;
}

/// The value of a flag that is written as `--flag VALUE` or `--flag=VALUE`; the last one counts.
std::optional<std::string> value_of(const std::vector<std::string>& arguments,
                                    const std::string& flag) {
  std::optional<std::string> value;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with(flag + "=")) value = arguments[i].substr(flag.size() + 1);
    if (arguments[i] == flag && i + 1 < arguments.size()) value = arguments[i + 1];
  }
  return value;
}

/// The config.yaml of the run that `train --resume` goes on with, where there is one.
std::optional<std::string> config_to_resume(const std::vector<std::string>& arguments) {
  const bool resumes = !arguments.empty() && arguments.front() == "train" &&
                       std::find(arguments.begin(), arguments.end(), "--resume") != arguments.end();
  const auto run_dir = resumes ? value_of(arguments, "--run-dir") : std::nullopt;
  if (!run_dir) return std::nullopt;
  const std::filesystem::path config = std::filesystem::path(*run_dir) / "config.yaml";
  return std::filesystem::exists(config) ? std::optional(config.string()) : std::nullopt;
}

std::vector<std::string> flags_in(const std::string& file) {
  YAML::Node root;
  try {
    root = YAML::Load(read_small_file(file, kMostYamlBytes));
  } catch (const YAML::Exception& error) {
    throw UsageError("--config " + file + ": " + error.what(), "give a YAML file");
  }
  if (!root.IsMap())
    throw UsageError("--config " + file + " is no map of flags", "write flag: value");
  std::vector<std::string> flags;
  for (const auto& entry : root) {
    if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
      throw UsageError("--config " + file + " has an entry that is no flag with one value",
                       "write flag: value");
    }
    std::string name = entry.first.Scalar();
    std::replace(name.begin(), name.end(), '_', '-');
    flags.push_back("--" + name + "=" + entry.second.Scalar());
  }
  return flags;
}

}  // namespace

std::vector<std::string> expand_config(std::vector<std::string> arguments) {
  std::optional<std::string> file = take_config(arguments);
  const bool resumes = !file;
  if (resumes) file = config_to_resume(arguments);
  if (!file) return arguments;
  std::vector<std::string> flags = flags_in(*file);
  // A budget without a cache is refused where it is typed, not where the file has it.
  if (value_of(arguments, "--cache") == "none") {
    std::erase_if(flags,
                  [](const std::string& flag) { return flag.starts_with("--cache-budget="); });
  }
  // Rank threads of before may be a launcher's ranks now.
  if (resumes && under_launcher()) {
    std::erase_if(flags, [](const std::string& flag) { return flag.starts_with("--workers="); });
  }
  arguments.insert(arguments.begin() + (arguments.empty() ? 0 : 1), flags.begin(), flags.end());
  return arguments;
}

}  // namespace gsplit
