// The random half of dropout: which columns of a node's row are kept. Shared by all devices.
#pragma once

#include <cstdint>

#include "kernels/base/philox.h"

namespace gsplit {

/// Dropout with counter-based masks: column c of a node is dropped where its 16-bit draw is below
/// the threshold. The draw is half c % 8 (word (c % 8) / 2, low half first) of Philox block c / 8
/// of (seed, step, layer, OriginalId): so duplicates of a node agree wherever they live. Kept
/// values are divided by the keep probability.
struct Dropout {
  double probability = 0;  ///< in [0, 1), quantised to 2^-16; 0 draws nothing
  DrawKey key;

  GSPLIT_HOST_DEVICE std::uint32_t threshold() const {
    return static_cast<std::uint32_t>(probability * 65536.0 + 0.5);
  }
  GSPLIT_HOST_DEVICE double scale() const { return 65536.0 / (65536.0 - threshold()); }
};

inline constexpr std::int64_t kDropoutColumnsPerBlock = 8;

/// Whether column 8 * block + i is kept is bit i of the result.
GSPLIT_HOST_DEVICE inline std::uint32_t kept_columns(const DrawKey& key, std::uint32_t threshold,
                                                     OriginalId node, std::uint32_t block) {
  const PhiloxBlock random = draw(key, value(node), block);
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i < 8; ++i) {
    const std::uint32_t half = (random.word[i / 2] >> (16 * (i % 2))) & 0xFFFFu;
    kept |= static_cast<std::uint32_t>(half >= threshold) << i;
  }
  return kept;
}

}  // namespace gsplit
