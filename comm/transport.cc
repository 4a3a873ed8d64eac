#include "comm/transport.h"

#include <cstring>
#include <numeric>

namespace gsplit {
namespace {

std::string in_seconds(std::chrono::milliseconds time) {
  const auto ms = time.count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

}  // namespace

CommunicationFailure absent_peer(int peer, std::chrono::milliseconds deadline) {
  const bool known = peer != CommunicationError::kSomePeer;
  const std::string who = known ? "rank " + std::to_string(peer) + " " : "";
  return {peer, who + "did not take part in a collective within " + in_seconds(deadline)};
}

CommunicationFailure aborted_peer(int peer, const std::string& reason) {
  return {peer, "rank " + std::to_string(peer) + " failed: " + reason, true};
}

CommunicationFailure departed_peer(int peer) {
  return {peer, "rank " + std::to_string(peer) + " has left the job"};
}

std::vector<int> ranks_of_color(std::span<const int> colors, int rank) {
  std::vector<int> ranks;
  for (std::size_t r = 0; r < colors.size(); ++r) {
    if (colors[r] == colors[static_cast<std::size_t>(rank)]) ranks.push_back(static_cast<int>(r));
  }
  return ranks;
}

std::vector<std::size_t> segment_offsets(std::span<const std::size_t> bytes) {
  std::vector<std::size_t> offsets(bytes.size() + 1, 0);
  std::partial_sum(bytes.begin(), bytes.end(), offsets.begin() + 1);
  return offsets;
}

void copy_own_segment(const Exchange& args, int rank) {
  const auto own = static_cast<std::size_t>(rank);
  if (args.send_bytes[own] == 0) return;
  const auto start = [own](std::span<const std::size_t> bytes) {
    return std::accumulate(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(own),
                           std::size_t{0});
  };
  std::memcpy(args.receive.data() + start(args.receive_bytes),
              args.send.data() + start(args.send_bytes), args.send_bytes[own]);
}

void check_exchange(const Exchange& args, int rank, int size) {
  const auto ranks = static_cast<std::size_t>(size);
  const auto own = static_cast<std::size_t>(rank);
  GSPLIT_CHECK(args.send_bytes.size() == ranks && args.receive_bytes.size() == ranks);
  const auto total = [](std::span<const std::size_t> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), std::size_t{0});
  };
  GSPLIT_CHECK(total(args.send_bytes) == args.send.size());
  GSPLIT_CHECK(total(args.receive_bytes) == args.receive.size());
  GSPLIT_CHECK(args.send_bytes[own] == args.receive_bytes[own]);
}

}  // namespace gsplit
