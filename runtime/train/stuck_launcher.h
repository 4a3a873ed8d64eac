// mpirun does not end while it waits for its daemon on a host that is gone, which it does for as
// long as TCP retries (Open MPI 4.1.4).
#pragma once

#include <chrono>

namespace gsplit {

/// Leaves a process behind that kills this one's parent, and its children, where that is Open MPI's
/// mpirun and has not ended after `patience`. For a job that has failed: its ranks end by
/// themselves and have said what there is to say. (SIGKILL, since the mpirun of before crashes in
/// its handler of SIGTERM.) Best effort; cheap, whatever memory this process has.
void end_stuck_launcher_after(std::chrono::seconds patience);

}  // namespace gsplit
