// A whole training run: the launcher's ranks or rank threads of this process, coordinator, data,
// steps, evaluation.
#pragma once

#include "kernels/base/error.h"
#include "kernels/base/log.h"
#include "runtime/train/config.h"

namespace gsplit {

/// Trains as `config` says. Under a launcher this process is one worker; otherwise it runs
/// config.workers rank threads. Throws Error; one with an empty text when another rank reports the
/// failure.
ExitCode run_training(const TrainConfig& config, const Log& log);

}  // namespace gsplit
