// How far the clocks of workers stand apart. Each ping-pongs with rank 0: of a round that takes the
// time t, rank 0's clock is read within it, so half of t is the error at most; the fastest of some
// rounds counts.
//
// Source: D. L. Mills, "Internet time synchronization: the Network Time Protocol", 1991, section 4.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comm/communicator.h"

namespace gsplit {

/// Of one worker.
struct ClockOffset {
  std::int64_t behind_ns = 0;  ///< what is to be added to its clock to have that of rank 0
  std::int64_t error_ns = 0;   ///< at most
};

/// By rank, the same on all. `apart`: by rank, whether it has another clock than rank 0; the
/// offsets of the others are 0 without error. `now`: this worker's clock. Collective.
std::vector<ClockOffset> clock_offsets(Communicator& communicator, const std::vector<bool>& apart,
                                       const std::function<std::int64_t()>& now);

}  // namespace gsplit
