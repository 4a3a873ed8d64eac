#include "runtime/train/hot_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// `eligible(node)`: whether the node may be taken.
template <class Eligible>
std::vector<GlobalId> take_hottest(std::span<const std::uint16_t> reads, std::size_t count,
                                   Eligible&& eligible) {
  constexpr std::size_t kMost = std::numeric_limits<std::uint16_t>::max();
  std::vector<std::size_t> nodes_with(kMost + 1, 0);
  for (std::uint64_t node = 0; node < reads.size(); ++node) {
    if (eligible(node)) ++nodes_with[reads[node]];
  }
  // All with more reads than `least` are taken, and the first of those with as many.
  std::size_t least = kMost, left = count;
  for (; least > 0 && nodes_with[least] <= left; --least) left -= nodes_with[least];
  std::vector<GlobalId> taken;
  for (std::uint64_t node = 0; node < reads.size(); ++node) {
    if (!eligible(node) || reads[node] < least) continue;
    if (reads[node] == least && left == 0) continue;
    if (reads[node] == least) --left;
    taken.push_back(GlobalId{node});
  }
  return taken;
}

}  // namespace

std::size_t rows_within(double budget, std::size_t rows) {
  GSPLIT_CHECK(budget >= 0 && budget <= 1);
  return static_cast<std::size_t>(std::llround(budget * static_cast<double>(rows)));
}

std::vector<GlobalId> hottest(std::span<const std::uint16_t> reads, std::size_t count) {
  return take_hottest(reads, count, [](std::uint64_t) { return true; });
}

std::vector<GlobalId> hottest_elsewhere(std::span<const std::uint16_t> reads, std::size_t count,
                                        GlobalRange own) {
  return take_hottest(reads, count, [&](std::uint64_t node) {
    return reads[node] > 0 && !own.contains(GlobalId{node});
  });
}

NodeRanks::NodeRanks(std::span<const GlobalId> members, std::uint64_t nodes)
    : words_((nodes + 63) / 64, 0), before_(words_.size(), 0) {
  for (const GlobalId node : members) {
    words_[value(node) / 64] |= std::uint64_t{1} << (value(node) % 64);
  }
  for (std::size_t i = 0; i + 1 < words_.size(); ++i) {
    before_[i + 1] = before_[i] + static_cast<std::uint32_t>(std::popcount(words_[i]));
  }
}

std::optional<std::uint64_t> NodeRanks::find(GlobalId node) const {
  const std::uint64_t word = words_[value(node) / 64];
  const std::uint64_t bit = std::uint64_t{1} << (value(node) % 64);
  if ((word & bit) == 0) return std::nullopt;
  return before_[value(node) / 64] + static_cast<std::uint64_t>(std::popcount(word & (bit - 1)));
}

}  // namespace gsplit
