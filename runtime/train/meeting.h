// How the workers of a job come to know the coordinator that rank 0 starts: its addresses,
// certificate and token, handed over by the communicator, so that the user configures nothing. See
// docs/security.md for what that is worth.
#pragma once

#include <chrono>
#include <string>

#include "comm/communicator.h"
#include "runtime/control/contact_card.h"
#include "runtime/control/coordinator.h"
#include "runtime/control/last_word.h"
#include "runtime/train/config.h"
#include "runtime/train/device.h"

namespace gsplit {

/// What rank 0's coordinator is to be: on loopback where all workers are on one host, else on all
/// interfaces, or where --coordinator-bind says. Collective.
CoordinatorOptions coordinator_options(const TrainConfig& config, const WorkerPlace& place,
                                       Communicator& communicator);

/// The coordinator of --coordinator, by its files or by what this host knows of it. Throws
/// UsageError.
Contact given_contact(const TrainConfig& config);

/// What rank 0 tells the others when they meet.
struct Meeting {
  Contact contact;
  LastWord::Handle word;
};

/// Rank 0's on every rank, in one exchange, so that of a rank that does not come all know that it
/// is that one. Collective.
Meeting broadcast_meeting(const Meeting& meeting, Communicator& communicator);

}  // namespace gsplit
