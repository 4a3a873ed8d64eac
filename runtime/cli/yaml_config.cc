#include "runtime/cli/yaml_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>

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

std::vector<std::string> flags_in(const std::string& file) {
  YAML::Node root;
  try {
    root = YAML::LoadFile(file);
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
  const std::optional<std::string> file = take_config(arguments);
  if (!file) return arguments;
  const std::vector<std::string> flags = flags_in(*file);
  arguments.insert(arguments.begin() + (arguments.empty() ? 0 : 1), flags.begin(), flags.end());
  return arguments;
}

}  // namespace gsplit
