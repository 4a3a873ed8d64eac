// --config FILE: YAML with the names of the flags as keys; CLI11 lets the command line win.
#pragma once

#include <memory>

namespace CLI {
class Config;
}

namespace gsplit {

std::shared_ptr<CLI::Config> make_yaml_config();

}  // namespace gsplit
