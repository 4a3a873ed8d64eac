// Flags from files: --config FILE, a YAML map with the names of the flags as keys, and the
// config.yaml of the run that --resume goes on with.
#pragma once

#include <string>
#include <vector>

namespace gsplit {

/// Replaces `--config FILE` (or `--config=FILE`) by the flags that the file holds, placed before
/// those of the command line, so that the later ones win. `arguments`: in order, the command's name
/// first. UsageError where the file is missing or no YAML map of flags. With `train --resume` and
/// no
/// --config the file is RUN_DIR/config.yaml, where there is one.
std::vector<std::string> expand_config(std::vector<std::string> arguments);

}  // namespace gsplit
