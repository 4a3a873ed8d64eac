// First element of a large array for which a predicate holds, with several threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>

namespace gsplit {

/// Smallest i with bad(values[i]). `bad` must not throw; it is called more than once per element
/// where something is found, branch-free over blocks where not.
template <class T, class Predicate>
std::optional<std::size_t> first_where(std::span<const T> values, int threads, Predicate bad) {
  constexpr std::size_t kBlock = 4096;
  constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::atomic<std::size_t> first{kNone};
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock) {
    const auto block = values.subspan(begin, std::min(kBlock, values.size() - begin));
    bool any = false;
    for (const T value : block) any |= bad(value);
    if (!any) continue;
    const auto hit = std::find_if(block.begin(), block.end(), bad);
    const std::size_t position = begin + static_cast<std::size_t>(hit - block.begin());
    std::size_t seen = first.load();
    while (position < seen && !first.compare_exchange_weak(seen, position)) {
    }
  }
  return first == kNone ? std::nullopt : std::optional(first.load());
}

}  // namespace gsplit
