#include "kernels/cpu/position_table.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 4096;

}  // namespace

void ArrayPositionTable::assign(std::span<const LocalId> nodes, RowIndex first, Stream&) {
  for_ranges(team_, static_cast<std::int64_t>(nodes.size()), kGrain,
             [&](std::int64_t begin, std::int64_t end) {
               for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                    ++i) {
                 rows_[value(nodes[i])] = first + static_cast<RowIndex>(i);
               }
             });
}

void ArrayPositionTable::look_up(std::span<const LocalId> nodes, std::span<RowIndex> rows,
                                 Stream&) const {
  for_ranges(team_, static_cast<std::int64_t>(nodes.size()), kGrain,
             [&](std::int64_t begin, std::int64_t end) {
               for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                    ++i) {
                 rows[i] = row(nodes[i]);
               }
             });
}

void ArrayPositionTable::reset(std::span<const LocalId> nodes, Stream&) {
  for_ranges(team_, static_cast<std::int64_t>(nodes.size()), kGrain,
             [&](std::int64_t begin, std::int64_t end) {
               for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                    ++i) {
                 rows_[value(nodes[i])] = kNoRow;
               }
             });
}

std::unique_ptr<PositionTable> make_position_table(std::size_t nodes, const Team& team) {
  return std::make_unique<ArrayPositionTable>(nodes, team);
}

}  // namespace gsplit::cpu
