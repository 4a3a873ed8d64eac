// Rows in the type of their arithmetic. For use inside with_best_instructions.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/cpu/instruction_set.h"

namespace gsplit::cpu {

/// A row of S as computed numbers: itself, or where rows are bf16 a copy in fp32 that store()
/// rounds back. Made once per chunk.
template <class S>
class WorkRow {
 public:
  using T = compute_type<S>;
  explicit WorkRow(std::int64_t cols)
      : copy_(kCopies ? static_cast<std::size_t>(cols) : 0), cols_(cols) {}

  /// Room for the row at `row`, whose content is not read.
  GSPLIT_INLINE_BODY T* room([[maybe_unused]] S* row) {
    if constexpr (kCopies) {
      return copy_.data();
    } else {
      return row;
    }
  }
  /// The row at `row`, to be read and changed.
  GSPLIT_INLINE_BODY T* load(S* row) {
    T* const work = room(row);
    if constexpr (kCopies) {
      for (std::int64_t c = 0; c < cols_; ++c) work[c] = widened(row[c]);
    }
    return work;
  }
  GSPLIT_INLINE_BODY void store([[maybe_unused]] S* row) {
    if constexpr (kCopies) {
      const T* const work = copy_.data();
      for (std::int64_t c = 0; c < cols_; ++c) row[c] = narrowed<S>(work[c]);
    }
  }

 private:
  static constexpr bool kCopies = !std::is_same_v<S, T>;

  std::vector<T> copy_;
  std::int64_t cols_;
};

}  // namespace gsplit::cpu
