#include "runtime/cli/yaml_config.h"

#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>

namespace gsplit {
namespace {

class YamlConfig final : public CLI::Config {
 public:
  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    YAML::Node root;
    try {
      root = YAML::Load(input);
    } catch (const YAML::Exception& error) {
      throw CLI::FileError(std::string("--config is no YAML: ") + error.what());
    }
    if (!root.IsMap()) throw CLI::FileError("--config is no YAML map of flags");
    std::vector<CLI::ConfigItem> items;
    for (const auto& entry : root) items.push_back(item_of(entry.first, entry.second));
    return items;
  }

 private:
  static CLI::ConfigItem item_of(const YAML::Node& key, const YAML::Node& value) {
    if (!key.IsScalar() || !value.IsScalar()) {
      throw CLI::FileError("--config: every entry must be a flag and one value");
    }
    CLI::ConfigItem item;
    item.name = key.Scalar();
    std::replace(item.name.begin(), item.name.end(), '_', '-');
    item.inputs = {value.Scalar()};
    return item;
  }
};

}  // namespace

std::shared_ptr<CLI::Config> make_yaml_config() { return std::make_shared<YamlConfig>(); }

}  // namespace gsplit
