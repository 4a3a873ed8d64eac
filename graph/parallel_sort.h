// Ascending sort of integers with several threads: chunks are sorted, then merged pairwise. The
// result does not depend on the number of threads, since equal integers are the same.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gsplit {

/// Needs a second array of the same size while it merges. `threads` at least 1.
inline void parallel_sort(std::vector<std::uint64_t>& values, int threads) {
  const std::size_t size = values.size();
  const auto chunks = static_cast<std::size_t>(threads);
  const auto at = [&](std::vector<std::uint64_t>& array, std::size_t chunk) {
    const std::size_t part = std::min(chunk, chunks);
    return array.begin() +
           static_cast<std::ptrdiff_t>(size / chunks * part + std::min(part, size % chunks));
  };
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t c = 0; c < chunks; ++c) std::sort(at(values, c), at(values, c + 1));
  if (chunks == 1) return;
  std::vector<std::uint64_t> merged(size);
  for (std::size_t width = 1; width < chunks; width *= 2) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (std::size_t c = 0; c < chunks; c += 2 * width) {
      std::merge(at(values, c), at(values, c + width), at(values, c + width),
                 at(values, c + 2 * width), at(merged, c));
    }
    values.swap(merged);
  }
}

}  // namespace gsplit
