// Several Philox blocks at once, written so that compilers turn the lanes into vectors. The numbers
// are those of kernels/base/philox.h.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/base/philox.h"
#include "kernels/cpu/instruction_set.h"

namespace gsplit::cpu {

inline constexpr std::int64_t kPhiloxLanes = 16;

/// Halves of kPhiloxLanes consecutive blocks in the order in which dropout reads them: low half of
/// word 0, high half of word 0, low half of word 1 and so on, block after block.
using PhiloxHalves = std::array<std::uint16_t, 8 * kPhiloxLanes>;

/// The halves of draw(key, who, first), draw(key, who, first + 1), ...
GSPLIT_INLINE_BODY inline void draw_lanes(const DrawKey& key, std::uint64_t who,
                                          std::uint32_t first, PhiloxHalves& halves) {
  std::uint32_t word[4][kPhiloxLanes];
  for (std::uint32_t lane = 0; lane < kPhiloxLanes; ++lane) {
    word[0][lane] = static_cast<std::uint32_t>(who);
    word[1][lane] = static_cast<std::uint32_t>(who >> 32);
    word[2][lane] = key.step;
    word[3][lane] = draw_tag(key, first + lane);
  }
  std::uint32_t key0 = static_cast<std::uint32_t>(key.seed);
  std::uint32_t key1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    for (int lane = 0; lane < kPhiloxLanes; ++lane) {
      PhiloxBlock block{{word[0][lane], word[1][lane], word[2][lane], word[3][lane]}};
      philox_round(block, key0, key1);
      for (int w = 0; w < 4; ++w) word[w][lane] = block.word[w];
    }
    key0 += kPhiloxStep0;
    key1 += kPhiloxStep1;
  }
  for (std::size_t lane = 0; lane < kPhiloxLanes; ++lane) {
    for (std::size_t w = 0; w < 4; ++w) {
      halves[8 * lane + 2 * w] = static_cast<std::uint16_t>(word[w][lane]);
      halves[8 * lane + 2 * w + 1] = static_cast<std::uint16_t>(word[w][lane] >> 16);
    }
  }
}

}  // namespace gsplit::cpu
