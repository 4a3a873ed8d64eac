// A digest as JSON: what `gsplit report --json` prints and the page's charts are drawn from.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "runtime/report/run_digest.h"

namespace gsplit {

/// {"runs": [...]}; docs/seeing.md lists the fields. Texts are as they stand in the files.
nlohmann::ordered_json to_json(const std::vector<RunDigest>& runs);

}  // namespace gsplit
