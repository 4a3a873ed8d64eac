// What every transport of exchange() needs: where segments start, the checks of its arguments, and
// one text for each way in which a peer can fail. Not for users of the layer.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace gsplit {

/// Why a communicator is no longer usable: what all later calls throw.
struct CommunicationFailure {
  int peer = -1;
  std::string reason;
  bool told_by_peer = false;
  CommunicationError error() const { return {peer, reason, told_by_peer}; }
};

/// The failure of a peer that did not come within the deadline. Of kSomePeer the text is what it
/// did not do, and leaves it to others to say who.
CommunicationFailure absent_peer(int peer, std::chrono::milliseconds deadline);
/// The failure of a peer that called abort(reason).
CommunicationFailure aborted_peer(int peer, const std::string& reason);
/// The failure of a peer whose communicator is gone.
CommunicationFailure departed_peer(int peer);

/// Ranks with the same color as `rank`, ascending. colors: by rank.
std::vector<int> ranks_of_color(std::span<const int> colors, int rank);

/// First byte of every segment, and the total at the end: (bytes.size() + 1).
std::vector<std::size_t> segment_offsets(std::span<const std::size_t> bytes);

/// Copies segment `rank` of `send` to segment `rank` of `receive`.
void copy_own_segment(const Exchange& args, int rank);

/// GSPLIT_CHECKs that there is a segment per rank, that they fill the spans, and that the own
/// segment is as long in both.
void check_exchange(const Exchange& args, int rank, int size);

}  // namespace gsplit
