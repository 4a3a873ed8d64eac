// What the exchanges between rank processes of this host cost: run under mpirun with as many ranks
// as workers. Rank 0 prints one JSON object, medians of several passes by the clock:
//
//   exchange        seconds of an exchange that carries nothing but eight bytes a rank
//   peer_bytes      bytes that a rank sends to others in a second, all at once, beside that time
//
//   mpirun -n P exchange_rate [MEGABYTES]        that a rank sends, 8 unless given
//
// What has been received is compared with what was sent before anything is printed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <vector>

#include "comm/world.h"

namespace gsplit {
namespace {

constexpr int kPasses = 21;
constexpr int kSmallOnes = 50;  // in a pass: one alone is too short for the clock

/// Seconds of a pass, of the rank that took longest; the median of kPasses after one not counted.
template <class F>
double median_seconds(Communicator& communicator, F&& pass) {
  std::vector<double> seconds;
  for (int i = 0; i <= kPasses; ++i) {
    communicator.barrier();
    const auto start = std::chrono::steady_clock::now();
    pass();
    const std::chrono::duration<double> mine = std::chrono::steady_clock::now() - start;
    const std::vector<double> all = communicator.all_gather_value(mine.count());
    if (i > 0) seconds.push_back(*std::max_element(all.begin(), all.end()));
  }
  std::nth_element(seconds.begin(), seconds.begin() + kPasses / 2, seconds.end());
  return seconds[kPasses / 2];
}

/// All-to-all of as many bytes to each other rank.
struct Traffic {
  Traffic(int rank, int size, std::size_t each)
      : sizes(static_cast<std::size_t>(size), each),
        sent(static_cast<std::size_t>(size - 1) * each, static_cast<std::byte>(rank)),
        received(sent.size()) {
    sizes[static_cast<std::size_t>(rank)] = 0;
  }
  void run(Communicator& communicator) {
    communicator.exchange(
        {.send = sent, .send_bytes = sizes, .receive = received, .receive_bytes = sizes});
  }
  bool arrived() const {
    auto place = received.begin();
    for (std::size_t q = 0; q < sizes.size(); ++q) {
      const auto end = place + static_cast<std::ptrdiff_t>(sizes[q]);
      if (std::any_of(place, end, [q](std::byte b) { return b != static_cast<std::byte>(q); })) {
        return false;
      }
      place = end;
    }
    return true;
  }

  std::vector<std::size_t> sizes;
  std::vector<std::byte> sent, received;
};

int measure(Communicator& communicator, std::size_t bytes) {
  const int rank = communicator.rank(), size = communicator.size();
  if (size < 2) {
    std::fputs("exchange_rate: run it under mpirun with 2 ranks or more\n", stderr);
    return 2;
  }
  Traffic small(rank, size, 8), large(rank, size, bytes / static_cast<std::size_t>(size - 1));
  const double latency = median_seconds(communicator,
                                        [&] {
                                          for (int i = 0; i < kSmallOnes; ++i)
                                            small.run(communicator);
                                        }) /
                         kSmallOnes;
  const double seconds = median_seconds(communicator, [&] { large.run(communicator); });
  if (!small.arrived() || !large.arrived()) {
    std::fputs("exchange_rate: bytes arrived other than they were sent\n", stderr);
    return 1;
  }
  if (rank == 0) {
    std::printf("{\"ranks\": %d, \"bytes\": %zu, \"exchange\": %.3g, \"peer_bytes\": %.4g}\n", size,
                large.sent.size(), latency,
                static_cast<double>(large.sent.size()) / std::max(seconds - latency, 1e-9));
  }
  return 0;
}

}  // namespace
}  // namespace gsplit

int main(int count, char** arguments) {
  try {
    const double megabytes = count > 1 ? std::atof(arguments[1]) : 8;
    gsplit::MpiWorld world(std::chrono::seconds(60));
    return gsplit::measure(world.communicator(), static_cast<std::size_t>(megabytes * 1e6));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "exchange_rate: %s\n", error.what());
    return 1;
  }
}
