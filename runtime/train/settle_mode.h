// What `--mode auto` becomes: the mode that an earlier run of this directory recorded, the only one
// that the given partition serves, or the one that is estimated to be fastest.
#pragma once

#include "comm/communicator.h"
#include "graph/dataset.h"
#include "kernels/base/log.h"
#include "runtime/train/config.h"
#include "runtime/train/device.h"

namespace gsplit {

/// Takes mode and group size from the config.yaml of the run that is resumed, where there is one.
void adopt_recorded_mode(TrainConfig& config);

/// Settles what is still `auto`, and says how on the log. Nothing else does anything. Takes some
/// seconds; for rank 0 alone. `dataset`: may be missing where `--partition` is a directory. Throws
/// UsageError where nothing can be estimated.
void settle_mode(TrainConfig& config, const Dataset* dataset, int workers, const WorkerPlace& place,
                 const Log& log);

/// Everybody takes rank 0's mode and group size. Collective.
void share_mode(TrainConfig& config, Communicator& communicator);

}  // namespace gsplit
