// IdSet as a two-level bitmap.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {

class BitmapIdSet final : public IdSet {
 public:
  BitmapIdSet(std::uint64_t universe, const Team& team);

  void insert(std::span<const GlobalId> ids, Stream& stream) override;
  void insert_absent(std::span<const LocalId> ids, const PositionTable& present,
                     Stream& stream) override;
  std::vector<std::size_t> seal(std::span<const GlobalRange> ranges, Stream& stream) override;
  void members(GlobalRange range, std::span<LocalId> out, Stream& stream) const override;
  void clear(Stream& stream) override;

  /// Number of members below a member. REQUIRES: sealed, `member` is one.
  std::uint32_t rank(std::uint64_t member) const {
    const std::uint64_t below = (std::uint64_t{1} << (member % 64)) - 1;
    return ranks_[member / 64] +
           static_cast<std::uint32_t>(std::popcount(words_[member / 64] & below));
  }
  /// Number of members below any id. REQUIRES: sealed.
  std::size_t count_below(std::uint64_t id) const;

 private:
  void insert_one(std::uint64_t id);

  std::vector<std::uint64_t> words_;
  std::vector<std::uint64_t> summary_;  // bit w: words_[w] is not 0
  std::vector<std::uint32_t> ranks_;    // members before words_[w], of touched words, once sealed
  std::vector<std::uint64_t> touched_;  // indices of the non-zero words, ascending, once sealed
  std::size_t total_ = 0;
  Team team_;
};

}  // namespace gsplit::cpu
