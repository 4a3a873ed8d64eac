// Which positions of a node's neighbour list a fanout draws: Floyd's algorithm (J. Bentley and R.
// Floyd, "A sample of brilliance", CACM 30(9), 1987), which needs exactly `count` draws for a
// uniform sample of `count` distinct positions without replacement.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/bisect.h"
#include "kernels/base/philox.h"

namespace gsplit {

/// Up to this many draws a sorted list is kept; above it a bitmap over the positions.
inline constexpr std::uint32_t kFloydListLimit = 32;

/// How many of `degree` neighbours `fanout` draws; a negative fanout takes all.
GSPLIT_HOST_DEVICE constexpr std::uint32_t sample_size(std::uint32_t degree, std::int32_t fanout) {
  return fanout < 0 ? degree : std::min(degree, static_cast<std::uint32_t>(fanout));
}

/// The draws of one node, four Philox words at a time.
class NodeDraws {
 public:
  GSPLIT_HOST_DEVICE NodeDraws(const DrawKey& key, OriginalId node)
      : key_(key), node_(value(node)) {}
  /// Draw number i. REQUIRES: called for i = 0, 1, 2, ... in order.
  GSPLIT_HOST_DEVICE std::uint32_t operator()(std::uint32_t i) {
    if (i % 4 == 0) block_ = draw(key_, node_, i / 4);
    return block_.word[i % 4];
  }

 private:
  DrawKey key_;
  std::uint64_t node_;
  PhiloxBlock block_{};
};

/// Adds `position` to the ascending list out[0..size) unless it is there; returns whether it was
/// added.
GSPLIT_HOST_DEVICE inline bool insert_sorted(std::uint32_t* out, std::uint32_t size,
                                             std::uint32_t position) {
  const std::uint32_t place = count_up_to(out, size, position);
  if (place > 0 && out[place - 1] == position) return false;
  for (std::uint32_t free = size; free > place; --free) out[free] = out[free - 1];
  out[place] = position;
  return true;
}

GSPLIT_HOST_DEVICE inline void floyd_by_list(std::uint32_t degree, std::uint32_t count,
                                             NodeDraws& draws, std::uint32_t* out) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t newest = degree - count + i;  // positions [0, newest] are in play
    // `newest` is larger than all before it, hence the last of the list.
    if (!insert_sorted(out, i, bounded(draws(i), newest + 1))) out[i] = newest;
  }
}

inline void floyd_by_bitmap(std::uint32_t degree, std::uint32_t count, NodeDraws& draws,
                            std::vector<std::uint64_t>& bitmap, std::uint32_t* out) {
  bitmap.assign((std::size_t{degree} + 63) / 64, 0);
  const auto insert = [&](std::uint32_t position) {
    const std::uint64_t bit = std::uint64_t{1} << (position % 64);
    const bool added = (bitmap[position / 64] & bit) == 0;
    bitmap[position / 64] |= bit;
    return added;
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t newest = degree - count + i;
    if (!insert(bounded(draws(i), newest + 1))) insert(newest);
  }
  for (std::size_t word = 0; word < bitmap.size(); ++word) {
    for (std::uint64_t bits = bitmap[word]; bits != 0; bits &= bits - 1) {
      *out++ = static_cast<std::uint32_t>(word * 64) +
               static_cast<std::uint32_t>(std::countr_zero(bits));
    }
  }
}

/// Writes `count` distinct positions in [0, degree), ascending, to out: all of them where count ==
/// degree, else a uniform sample that depends on (degree, count, key, node) alone. `bitmap` is
/// scratch, kept between calls to save its allocation. REQUIRES: count <= degree; out has room for
/// count.
inline void sample_positions(std::uint32_t degree, std::uint32_t count, const DrawKey& key,
                             OriginalId node, std::vector<std::uint64_t>& bitmap,
                             std::uint32_t* out) {
  if (count == degree) {
    for (std::uint32_t i = 0; i < count; ++i) out[i] = i;
    return;
  }
  NodeDraws draws(key, node);
  if (count <= kFloydListLimit) {
    floyd_by_list(degree, count, draws, out);
  } else {
    floyd_by_bitmap(degree, count, draws, bitmap, out);
  }
}

}  // namespace gsplit
