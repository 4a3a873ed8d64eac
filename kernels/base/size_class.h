// How caches of memory blocks round sizes, so that blocks can be handed out again.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

namespace gsplit {

/// Rounds up to one of eight sizes per power of two, so that at most an eighth is wasted; a
/// multiple of 64.
inline std::size_t size_class(std::size_t bytes) {
  constexpr std::size_t kAlignment = 64;
  const std::size_t step = std::max(kAlignment, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

}  // namespace gsplit
