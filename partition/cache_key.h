// Where derived data of a dataset lie in the cache folder: a name, and a hash of all they depend
// on.
#pragma once

#include <filesystem>
#include <string>

#include "graph/dataset.h"

namespace gsplit {

/// Entry `name`-<hash of `key`> of the cache folder, which is created if missing.
std::filesystem::path cache_path(const std::string& name, const std::string& key);

/// What stands for a dataset in keys: its content, sizes and times, not its path; and the version
/// of what is derived. `fingerprint`: its content_fingerprint.
std::string dataset_key(const Dataset& dataset, const std::string& fingerprint);

}  // namespace gsplit
