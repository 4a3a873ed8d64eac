// The log of the executable: stdout for progress, stderr for warnings.
#pragma once

#include "kernels/base/log.h"

namespace gsplit {

/// Lines with a time of day by spdlog. `quiet`: no info lines, for ranks other than 0.
Log make_log(bool quiet);

}  // namespace gsplit
