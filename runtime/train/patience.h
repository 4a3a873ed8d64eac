// How long workers wait for one that does what they do not, in times of the deadline: see Patience.
// Meanwhile the coordinator finds who dies or stops by its heartbeats.
#pragma once

#include "comm/communicator.h"

namespace gsplit {

/// For files: rank 0 alone reads and writes checkpoints, and a disk under pressure may take many
/// seconds to flush one. A disk that hangs for good is still an end of the job.
inline constexpr int kPatienceForFiles = 10;
/// For a host that makes its own partition, which takes as long as it likes.
inline constexpr int kPatienceForPartitioning = 100'000;

/// Waits for rank 0, which has files to write before it comes. Collective.
inline void await_files(Communicator& communicator) {
  const Patience patience(communicator, kPatienceForFiles);
  communicator.barrier();
}

}  // namespace gsplit
