#include "runtime/train/clock_offsets.h"

#include <limits>
#include <span>

namespace gsplit {
namespace {

/// The first of them waits for rank 0, which is busy with others.
constexpr int kRounds = 16;

/// Sends `value` of rank `from` to rank `to`; the other ranks do not wait. Collective.
std::int64_t pass(Communicator& communicator, int from, int to, std::int64_t value) {
  const auto ranks = static_cast<std::size_t>(communicator.size());
  std::vector<std::size_t> send_bytes(ranks, 0);
  std::vector<std::size_t> receive_bytes(ranks, 0);
  const bool sends = communicator.rank() == from;
  const bool receives = communicator.rank() == to;
  std::int64_t received = value;
  if (sends) send_bytes[static_cast<std::size_t>(to)] = sizeof(value);
  if (receives) receive_bytes[static_cast<std::size_t>(from)] = sizeof(value);
  communicator.exchange({std::as_bytes(std::span(&value, sends ? 1 : 0)), send_bytes,
                         std::as_writable_bytes(std::span(&received, receives ? 1 : 0)),
                         receive_bytes});
  return received;
}

/// Of `rank`, which alone knows the result.
ClockOffset offset_of(int rank, Communicator& communicator,
                      const std::function<std::int64_t()>& now) {
  ClockOffset best{.error_ns = std::numeric_limits<std::int64_t>::max()};
  for (int round = 0; round < kRounds; ++round) {
    const std::int64_t begin = now();
    pass(communicator, rank, 0, 0);
    const std::int64_t there = pass(communicator, 0, rank, now());
    const std::int64_t end = now();
    const std::int64_t error = (end - begin + 1) / 2;
    if (error < best.error_ns) best = {there - begin - (end - begin) / 2, error};
  }
  return best;
}

}  // namespace

std::vector<ClockOffset> clock_offsets(Communicator& communicator, const std::vector<bool>& apart,
                                       const std::function<std::int64_t()>& now) {
  ClockOffset mine;
  for (int rank = 1; rank < communicator.size(); ++rank) {
    if (!apart[static_cast<std::size_t>(rank)]) continue;
    const ClockOffset found = offset_of(rank, communicator, now);
    if (rank == communicator.rank()) mine = found;
  }
  return communicator.all_gather_value(mine);
}

}  // namespace gsplit
