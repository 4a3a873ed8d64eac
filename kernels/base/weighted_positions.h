// Which positions of a node's neighbour list a fanout draws where edges have weights: one after the
// other without replacement, each with probability in proportion to its weight among those left.
//
// Weights become integers once, by a pure function of the row; only integers decide a draw. A
// position is found by bisection of the row's running sums. Draw i takes a variate over the whole
// row; where it hits a position drawn before, it is rejected and a second variate is taken over
// what is left. With D of T units drawn, a position of weight q is thus taken with probability
// q / T + (D / T) q / (T - D) = q / (T - D), and no draw needs more than two variates.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/base/sample_positions.h"

namespace gsplit {

/// Running sums of one row's integer weights into `sums`, which has the size of `weights` (finite,
/// at least 0; fewer than 2^30). The row's weights are scaled to a sum of about 2^31, so that every
/// sum fits and a variate of 32 bits reaches every unit; a positive weight becomes at least 1.
/// Returns the number of positive weights.
inline std::uint32_t accumulate_weights(std::span<const float> weights,
                                        std::span<std::uint32_t> sums) {
  double total = 0;
  for (const float weight : weights) total += weight;
  const double scale = total > 0 ? 0x1p31 / total : 0;
  std::uint32_t sum = 0, positive = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) {
      sum += std::max(1u, static_cast<std::uint32_t>(weights[i] * scale));
      ++positive;
    }
    sums[i] = sum;
  }
  return positive;
}

/// A row's integer weights by their running sums.
class WeightedRow {
 public:
  GSPLIT_HOST_DEVICE explicit WeightedRow(std::span<const std::uint32_t> sums) : sums_(sums) {}

  GSPLIT_HOST_DEVICE std::uint32_t total() const { return sums_.empty() ? 0 : sums_.back(); }
  GSPLIT_HOST_DEVICE std::uint32_t begin(std::uint32_t position) const {
    return position == 0 ? 0 : sums_[position - 1];
  }
  GSPLIT_HOST_DEVICE std::uint32_t weight(std::uint32_t position) const {
    return sums_[position] - begin(position);
  }
  /// Whose unit it is. REQUIRES: unit < total().
  GSPLIT_HOST_DEVICE std::uint32_t holder(std::uint32_t unit) const {
    return count_up_to(sums_.data(), static_cast<std::uint32_t>(sums_.size()), unit);
  }
  /// Unit number `unit` of those that do not belong to `drawn`, ascending positions.
  GSPLIT_HOST_DEVICE std::uint32_t unit_left(std::uint32_t unit,
                                             std::span<const std::uint32_t> drawn) const {
    for (const std::uint32_t position : drawn) {
      if (unit < begin(position)) break;
      unit += weight(position);
    }
    return unit;
  }

 private:
  std::span<const std::uint32_t> sums_;
};

/// Writes `count` distinct positions of positive weight, ascending, to out; all of them where
/// count == positive. REQUIRES: count <= positive, the number of positive weights; out has room
/// for count.
GSPLIT_HOST_DEVICE inline void weighted_positions(std::span<const std::uint32_t> sums,
                                                  std::uint32_t positive, std::uint32_t count,
                                                  const DrawKey& key, OriginalId node,
                                                  std::uint32_t* out) {
  const WeightedRow row(sums);
  if (count == positive) {
    for (std::uint32_t i = 0; count > 0; ++i) {
      if (row.weight(i) == 0) continue;
      *out++ = i;
      --count;
    }
    return;
  }
  NodeDraws draws(key, node);
  std::uint32_t next = 0, taken = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t position = row.holder(bounded(draws(next++), row.total()));
    if (!insert_sorted(out, i, position)) {
      const std::uint32_t unit = bounded(draws(next++), row.total() - taken);
      position = row.holder(row.unit_left(unit, {out, i}));
      insert_sorted(out, i, position);
    }
    taken += row.weight(position);
  }
}

}  // namespace gsplit
