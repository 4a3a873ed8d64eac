// PositionTable as one array over the local nodes.
#pragma once

#include <limits>
#include <vector>

#include "kernels/cpu/ops.h"

namespace gsplit::cpu {

inline constexpr RowIndex kNoRow = std::numeric_limits<RowIndex>::max();

class ArrayPositionTable final : public PositionTable {
 public:
  ArrayPositionTable(std::size_t nodes, const Team& team) : rows_(nodes, kNoRow), team_(team) {}

  void assign(std::span<const LocalId> nodes, RowIndex first, Stream& stream) override;
  void look_up(std::span<const LocalId> nodes, std::span<RowIndex> rows,
               Stream& stream) const override;
  void reset(std::span<const LocalId> nodes, Stream& stream) override;

  /// kNoRow where the node has none.
  RowIndex row(LocalId node) const { return rows_[value(node)]; }

 private:
  std::vector<RowIndex> rows_;
  Team team_;
};

}  // namespace gsplit::cpu
