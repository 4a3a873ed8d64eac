// Philox4x32-10, the counter-based generator behind every random decision of gsplit (J. Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", SC'11). A draw is a pure function of (seed,
// who, step, purpose, layer, index): no state, so neither the number of workers nor threads,
// partition or device can change it.
//
// Header-only and free of library calls, so that CPU and GPU code share it.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/base/ids.h"

#if defined(__CUDACC__)
#define GSPLIT_HOST_DEVICE __host__ __device__
#else
#define GSPLIT_HOST_DEVICE
#endif

namespace gsplit {

struct PhiloxBlock {
  std::uint32_t word[4];
};

/// What a draw is for; 4 bits of the counter. The numbers are part of the reproducibility promise:
/// never reuse one.
enum class Purpose : std::uint32_t {
  kSampling = 0,
  kPresampling = 1,
  kDropout = 2,
  kAttentionDropout = 3,
  kPermutation = 4,
  kInit = 5,
  kGenerator = 6,
  kSplit = 7,
  kEvaluation = 8,
};

GSPLIT_HOST_DEVICE inline void philox_round(PhiloxBlock& counter, std::uint32_t key0,
                                            std::uint32_t key1) {
  const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter.word[0];
  const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter.word[2];
  counter = {{static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
              static_cast<std::uint32_t>(product1),
              static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
              static_cast<std::uint32_t>(product0)}};
}

inline constexpr int kPhiloxRounds = 10;
/// Added to the halves of the key after each round.
inline constexpr std::uint32_t kPhiloxStep0 = 0x9E3779B9u, kPhiloxStep1 = 0xBB67AE85u;

/// Ten rounds over a 128-bit counter with a 64-bit key.
GSPLIT_HOST_DEVICE inline PhiloxBlock philox4x32(PhiloxBlock counter, std::uint64_t key) {
  std::uint32_t key0 = static_cast<std::uint32_t>(key);
  std::uint32_t key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    philox_round(counter, key0, key1);
    key0 += kPhiloxStep0;
    key1 += kPhiloxStep1;
  }
  return counter;
}

/// Where a stream of draws stands: all of the counter but the running index.
struct DrawKey {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;  ///< global optimizer step, or whatever the purpose counts
  Purpose purpose = Purpose::kSampling;
  std::uint32_t layer = 0;  ///< below 256
};

/// The last word of a counter.
GSPLIT_HOST_DEVICE inline std::uint32_t draw_tag(const DrawKey& key, std::uint32_t index) {
  return (static_cast<std::uint32_t>(key.purpose) << 28) | (key.layer << 20) | (index & 0xFFFFFu);
}

/// Four 32-bit draws number `index` (below 2^20) for `who`: counter = {who low, who high, step,
/// purpose|layer|index}.
GSPLIT_HOST_DEVICE inline PhiloxBlock draw(const DrawKey& key, std::uint64_t who,
                                           std::uint32_t index) {
  return philox4x32({{static_cast<std::uint32_t>(who), static_cast<std::uint32_t>(who >> 32),
                      key.step, draw_tag(key, index)}},
                    key.seed);
}

/// Uniform integer in [0, range) by multiply-high; the bias is below range / 2^32.
GSPLIT_HOST_DEVICE inline std::uint32_t bounded(std::uint32_t random, std::uint32_t range) {
  return static_cast<std::uint32_t>((std::uint64_t{random} * range) >> 32);
}

/// Uniform double in [0, 1) with 32 bits.
GSPLIT_HOST_DEVICE inline double unit_interval(std::uint32_t random) {
  return random * (1.0 / 4294967296.0);
}

}  // namespace gsplit
