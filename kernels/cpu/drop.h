// The masks of dropout, applied by vectors; as kernels/base/dropout.h defines them.
#pragma once

#include <algorithm>

#include "kernels/base/dropout.h"
#include "kernels/cpu/philox_lanes.h"

namespace gsplit::cpu {

template <class T>
GSPLIT_INLINE_BODY inline bool all_zero(const T* row, std::int64_t cols) {
  int nonzero = 0;  // a sum of T would have to be formed in order
  for (std::int64_t c = 0; c < cols; ++c) nonzero |= row[c] != T{0} ? 1 : 0;
  return nonzero == 0;
}

/// Multiplies kept columns by the scale and the others by 0. What is 0 anyway needs no draw: rows
/// of word counts, nearly all zeros, are where input dropout would cost most.
template <class T>
GSPLIT_INLINE_BODY inline void drop(T* row, std::int64_t cols, const Dropout& dropout,
                                    OriginalId node) {
  const std::uint32_t threshold = dropout.threshold();
  const T scale = static_cast<T>(dropout.scale());
  PhiloxHalves halves;
  constexpr std::int64_t kColumns = kDropoutColumnsPerBlock * kPhiloxLanes;
  for (std::int64_t begin = 0; begin < cols; begin += kColumns) {
    const std::int64_t count = std::min(kColumns, cols - begin);
    T* const part = row + begin;
    if (all_zero(part, count)) continue;
    draw_lanes(dropout.key, value(node),
               static_cast<std::uint32_t>(begin / kDropoutColumnsPerBlock), halves);
    for (std::int64_t c = 0; c < count; ++c) {
      const std::uint32_t half = halves[static_cast<std::size_t>(c)];
      part[c] = half >= threshold ? part[c] * scale : T{0};
    }
  }
}

}  // namespace gsplit::cpu
