// Loops over the threads of one worker. What a chunk is depends on the problem alone, never on the
// number of threads: whoever computes a chunk, its result and its place in a later sum are the
// same.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace gsplit::cpu {

/// The OpenMP threads that an op may use.
struct Team {
  int threads = 1;
};

constexpr std::int64_t num_chunks(std::int64_t items, std::int64_t chunk) {
  return (items + chunk - 1) / chunk;
}

/// Calls body(index, begin, end) for each chunk of at most `chunk` items, chunks in parallel. The
/// body must not throw.
template <class F>
void for_chunks(const Team& team, std::int64_t items, std::int64_t chunk, F&& body) {
  const std::int64_t chunks = num_chunks(items, chunk);
  const int threads = static_cast<int>(std::min<std::int64_t>(team.threads, chunks));
  if (threads <= 1) {
    for (std::int64_t i = 0; i < chunks; ++i) {
      body(i, i * chunk, std::min(items, (i + 1) * chunk));
    }
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t i = 0; i < chunks; ++i) {
    body(i, i * chunk, std::min(items, (i + 1) * chunk));
  }
}

/// Calls body(begin, end) over [0, items) in pieces of `grain`.
template <class F>
void for_ranges(const Team& team, std::int64_t items, std::int64_t grain, F&& body) {
  for_chunks(team, items, grain,
             [&](std::int64_t, std::int64_t begin, std::int64_t end) { body(begin, end); });
}

}  // namespace gsplit::cpu
