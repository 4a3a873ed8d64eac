// The three ways to name a node, as types that do not convert into one another.
//
//   OriginalId  the id in the user's dataset. Everything that leaves the system speaks it; random
//   draws are keyed by
//               it, so that they do not depend on the partition.
//   GlobalId    the id after partitioning: part p owns the contiguous range [bounds[p], bounds[p +
//   1]). LocalId     GlobalId minus bounds[p], within one part; a part has fewer than 2^32 - 1
//   nodes.
//
// They are enums, so arrays of them can lie in mapped files as plain integers.
#pragma once

#include <cstdint>
#include <limits>

namespace gsplit {

enum class OriginalId : std::uint64_t {};
enum class GlobalId : std::uint64_t {};
enum class LocalId : std::uint32_t {};

inline constexpr LocalId kNoLocal{std::numeric_limits<std::uint32_t>::max()};

constexpr std::uint64_t value(OriginalId id) { return static_cast<std::uint64_t>(id); }
constexpr std::uint64_t value(GlobalId id) { return static_cast<std::uint64_t>(id); }
constexpr std::uint32_t value(LocalId id) { return static_cast<std::uint32_t>(id); }

/// Position of a row in a matrix of one mini-batch, or of an edge in one of its blocks.
using RowIndex = std::uint32_t;

}  // namespace gsplit
