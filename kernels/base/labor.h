// LABOR-0 (M. Balin and U. Catalyurek, "Layer-Neighbor Sampling", arXiv 2210.13339): every node has
// one variate r in a layer of a step, the same for all destinations that have it as a neighbour. A
// destination of in-degree d keeps the edge from j where r_j < k / d: k neighbours on average,
// fewer distinct ones over all destinations than where each draws for itself.
#pragma once

#include <cstdint>

#include "kernels/base/philox.h"

namespace gsplit {

/// The variate of a node as a source, of 32 bits.
GSPLIT_HOST_DEVICE inline std::uint32_t labor_variate(const DrawKey& key, OriginalId source) {
  return draw(key, value(source), 0).word[0];
}

/// Whether an edge from a source of this variate is kept by a destination of in-degree `degree`;
/// always where fanout >= degree. REQUIRES: fanout > 0.
GSPLIT_HOST_DEVICE constexpr bool labor_keeps(std::uint32_t variate, std::int32_t fanout,
                                              std::uint32_t degree) {
  return std::uint64_t{variate} * degree < static_cast<std::uint64_t>(fanout) << 32;
}

}  // namespace gsplit
