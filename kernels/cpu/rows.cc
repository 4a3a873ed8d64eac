// Rows by index: gather_rows, add_rows, scale_rows and add; convert_rows.
#include <cstring>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/weighted_rows.h"
#include "kernels/cpu/widen.h"

namespace gsplit::cpu {
namespace {

constexpr std::int64_t kGrain = 512;  // rows per chunk

template <class From, class To>
GSPLIT_INLINE_BODY inline void copy_row(const From* from, To* to, std::int64_t cols) {
  if constexpr (std::is_same_v<From, To>) {
    std::memcpy(to, from, static_cast<std::size_t>(cols) * sizeof(To));
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    for (std::int64_t c = 0; c < cols; ++c) to[c] = narrowed<To>(widened(from[c]));
  } else if constexpr (sizeof(From) == 2 && std::is_same_v<To, float>) {
    widen(from, to, cols);
  } else {
    for (std::int64_t c = 0; c < cols; ++c) to[c] = static_cast<To>(widened(from[c]));
  }
}

/// Rows stand anywhere: those to come are asked for while this one is copied.
constexpr std::size_t kAhead = 8;

template <class From, class To>
void gather(const GatherRowsArgs& args, const Team& team) {
  const auto count = static_cast<std::int64_t>(args.rows.size());
  for_ranges(team, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    with_best_instructions([&]() GSPLIT_INLINE_BODY {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::size_t next = static_cast<std::size_t>(i) + kAhead;
        if (next < static_cast<std::size_t>(end)) {
          prefetch_row(args.source.row<From>(args.rows[next]), args.source.cols);
        }
        copy_row(args.source.row<From>(args.rows[static_cast<std::size_t>(i)]),
                 args.destination.row<To>(i), args.source.cols);
      }
    });
  });
}

template <class From, class To>
void gather_cached(const GatherCachedRowsArgs& args, const Team& team) {
  const GatherRowsArgs& gather = args.gather;
  const auto count = static_cast<std::int64_t>(gather.rows.size());
  for_ranges(team, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    with_best_instructions([&]() GSPLIT_INLINE_BODY {
      for (std::int64_t i = begin; i < end; ++i) {
        const RowIndex row = gather.rows[static_cast<std::size_t>(i)];
        const RowIndex slot = args.cache.slots[row];
        if (!args.places.empty() && slot != kNoSlot && i >= args.first_placed) continue;
        copy_row(slot == kNoSlot ? gather.source.row<From>(row) : args.cache.rows.row<From>(slot),
                 gather.destination.row<To>(i), gather.source.cols);
      }
    });
  });
}

/// GatherCachedRowsArgs::places.
void place_rows(const GatherCachedRowsArgs& args) {
  const GatherRowsArgs& gather = args.gather;
  const std::size_t element = size_of(gather.destination.dtype);
  const auto at = [&](const ConstMatrixView& matrix, std::size_t row) {
    return static_cast<const std::byte*>(matrix.data) +
           row * static_cast<std::size_t>(matrix.stride) * element;
  };
  for (std::size_t i = 0; i < args.places.size(); ++i) {
    const bool may_stay =
        i < gather.rows.size() && static_cast<std::int64_t>(i) >= args.first_placed;
    const RowIndex slot = may_stay ? args.cache.slots[gather.rows[i]] : kNoSlot;
    args.places[i] = slot == kNoSlot ? at(gather.destination, i) : at(args.cache.rows, slot);
  }
}

/// to += from
template <class S>
GSPLIT_INLINE_BODY inline void add_row(const S* from, S* to, std::int64_t cols) {
  for (std::int64_t c = 0; c < cols; ++c) to[c] = narrowed<S>(widened(to[c]) + widened(from[c]));
}

template <class From, class To>
void convert(const ConvertRowsArgs& args, const Team& team) {
  for_ranges(team, args.source.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    with_best_instructions([&]() GSPLIT_INLINE_BODY {
      for (std::int64_t i = begin; i < end; ++i) {
        copy_row(args.source.row<From>(i), args.destination.row<To>(i), args.source.cols);
      }
    });
  });
}

}  // namespace

void gather_rows(const GatherRowsArgs& args, const Team& team) {
  GSPLIT_CHECK(args.destination.rows == static_cast<std::int64_t>(args.rows.size()));
  GSPLIT_CHECK(args.destination.cols == args.source.cols);
  dispatch_storage(args.source.dtype, [&](auto from) {
    dispatch_rows(args.destination.dtype,
                  [&](auto to) { gather<decltype(from), decltype(to)>(args, team); });
  });
}

void gather_cached_rows(const GatherCachedRowsArgs& args, const Team& team) {
  const GatherRowsArgs& gather = args.gather;
  GSPLIT_CHECK(gather.destination.rows == static_cast<std::int64_t>(gather.rows.size()));
  GSPLIT_CHECK(gather.destination.cols == gather.source.cols);
  GSPLIT_CHECK(args.cache.rows.cols == gather.source.cols);
  GSPLIT_CHECK(args.cache.rows.dtype == gather.source.dtype);
  GSPLIT_CHECK(args.places.empty() || gather.destination.dtype == gather.source.dtype);
  dispatch_storage(gather.source.dtype, [&](auto from) {
    dispatch_rows(gather.destination.dtype,
                  [&](auto to) { gather_cached<decltype(from), decltype(to)>(args, team); });
  });
  place_rows(args);
  if (args.hits.empty()) return;
  for (const RowIndex row : gather.rows) args.hits.front() += args.cache.slots[row] != kNoSlot;
}

void gather_placed_rows(const GatherPlacedRowsArgs& args, const Team& team) {
  const MatrixView& to = args.destination;
  GSPLIT_CHECK(to.rows == static_cast<std::int64_t>(args.rows.size()));
  dispatch_rows(to.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_ranges(team, to.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const void* const from = args.places[args.rows[static_cast<std::size_t>(i)]];
        copy_row(static_cast<const T*>(from), to.row<T>(i), to.cols);
      }
    });
  });
}

void convert_rows(const ConvertRowsArgs& args, const Team& team) {
  GSPLIT_CHECK(args.source.rows == args.destination.rows);
  GSPLIT_CHECK(args.source.cols == args.destination.cols);
  if (args.source.dtype == DType::kBF16) {
    dispatch_compute(args.destination.dtype,
                     [&](auto to) { convert<BFloat16, decltype(to)>(args, team); });
  } else {
    GSPLIT_CHECK(args.destination.dtype == DType::kBF16);
    dispatch_compute(args.source.dtype,
                     [&](auto from) { convert<decltype(from), BFloat16>(args, team); });
  }
}

void add_rows(const AddRowsArgs& args, const Team& team) {
  GSPLIT_CHECK(args.source.dtype == args.destination.dtype);
  GSPLIT_CHECK(args.source.rows == static_cast<std::int64_t>(args.rows.size()));
  dispatch_rows(args.source.dtype, [&](auto type) {
    using S = decltype(type);
    for_ranges(team, args.source.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      with_best_instructions([&]() GSPLIT_INLINE_BODY {
        for (std::int64_t i = begin; i < end; ++i) {
          add_row(args.source.row<S>(i),
                  args.destination.row<S>(args.rows[static_cast<std::size_t>(i)]),
                  args.source.cols);
        }
      });
    });
  });
}

void scale_rows(const ScaleRowsArgs& args, const Team& team) {
  GSPLIT_CHECK(args.matrix.rows == static_cast<std::int64_t>(args.factors.size()));
  dispatch_rows(args.matrix.dtype, [&](auto type) {
    using S = decltype(type);
    using T = compute_type<S>;
    for_ranges(team, args.matrix.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      with_best_instructions([&]() GSPLIT_INLINE_BODY {
        for (std::int64_t i = begin; i < end; ++i) {
          S* const row = args.matrix.row<S>(i);
          const T factor = static_cast<T>(args.factors[static_cast<std::size_t>(i)]);
          for (std::int64_t c = 0; c < args.matrix.cols; ++c) {
            row[c] = narrowed<S>(widened(row[c]) * factor);
          }
        }
      });
    });
  });
}

void add(const AddArgs& args, const Team& team) {
  GSPLIT_CHECK(args.source.rows == args.destination.rows);
  GSPLIT_CHECK(args.source.cols == args.destination.cols);
  GSPLIT_CHECK(args.source.dtype == args.destination.dtype);
  dispatch_rows(args.destination.dtype, [&](auto type) {
    using S = decltype(type);
    for_ranges(team, args.destination.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      with_best_instructions([&]() GSPLIT_INLINE_BODY {
        for (std::int64_t i = begin; i < end; ++i) {
          add_row(args.source.row<S>(i), args.destination.row<S>(i), args.source.cols);
        }
      });
    });
  });
}

}  // namespace gsplit::cpu
