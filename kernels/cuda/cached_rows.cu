// Rows of a matrix in host memory of which the GPU's memory has some: gather_cached_rows, and
// gather_placed_rows. Bound by the bus: each row that is not cached crosses it once. A group of
// lanes reads a row side by side (S. W. Min et al., "PyTorch-Direct", arXiv 2101.07956), so that
// what crosses is whole sectors where rows begin at multiples of 32 bytes.
#include "kernels/cuda/copy_row.cuh"

namespace gsplit::cuda {
namespace {

/// Which rows are wanted, and which of them are cached.
struct Wanted {
  const RowIndex* rows;   ///< (count)
  const RowIndex* slots;  ///< by row
  std::int64_t count;

  __device__ RowIndex slot(std::int64_t i) const { return slots[rows[i]]; }
};

template <class From, class To, int kPack>
__global__ void copy_cached_rows(Wanted wanted, Rows<const From> source, Rows<const From> cached,
                                 Rows<To> destination, std::int64_t cols,
                                 const void* const* places) {
  const std::int64_t i = row_of_thread();
  if (i >= wanted.count) return;
  if (places != nullptr && places[i] != destination.row(i)) return;  // it is read where it is
  const RowIndex slot = wanted.slot(i);
  copy_row<kPack>(slot == kNoSlot ? source.row(wanted.rows[i]) : cached.row(slot),
                  destination.row(i), cols);
}

template <class T, int kPack>
__global__ void copy_placed_rows(const void* const* places, const RowIndex* rows,
                                 std::int64_t count, std::int64_t cols, Rows<T> destination) {
  const std::int64_t i = row_of_thread();
  if (i >= count) return;
  copy_row<kPack>(static_cast<const T*>(places[rows[i]]), destination.row(i), cols);
}

/// Rows by address.
struct Addresses {
  const std::byte* data;
  std::int64_t row_bytes;

  __device__ const void* row(std::int64_t i) const { return data + i * row_bytes; }
};

/// What locate_rows finds out, but for what is null.
struct Located {
  unsigned long long* hits;
  const void** places;  ///< (count)
  std::int64_t count;
  std::int64_t first_placed;
  Addresses cached;
  Addresses destination;
};

/// A thread a row; one addition a block.
__global__ void locate_rows(Wanted wanted, Located found) {
  const std::int64_t i = index_of_thread();
  const RowIndex slot = i < wanted.count ? wanted.slot(i) : kNoSlot;
  if (i < found.count) {
    const bool stays = slot != kNoSlot && i >= found.first_placed;
    found.places[i] = stays ? found.cached.row(slot) : found.destination.row(i);
  }
  const int in_block = __syncthreads_count(slot != kNoSlot);
  if (found.hits != nullptr && threadIdx.x == 0 && in_block > 0) {
    atomicAdd(found.hits, static_cast<unsigned long long>(in_block));
  }
}

/// The matrices of a gather.
struct Matrices {
  ConstMatrixView source;
  ConstMatrixView cached;
  MatrixView destination;
  const void* const* places;  ///< null: all rows are copied
};

template <class From, class To, int kPack = 1>
void launch(const Wanted& wanted, const Matrices& of, const Queue& queue) {
  const std::int64_t cols = of.destination.cols;
  const RowLaunch launch = over_rows(wanted.count, cols / kPack);
  copy_cached_rows<From, To, kPack><<<launch.grid, launch.block, 0, queue.raw()>>>(
      wanted, rows_of<From>(of.source), rows_of<From>(of.cached), rows_of<To>(of.destination), cols,
      of.places);
  check_launch("copy_cached_rows");
}

/// Of one dtype: what it is does not matter where rows consist of words.
void copy_bytes(const Wanted& wanted, const Matrices& of, const Queue& queue) {
  if (!have_words({of.source, of.cached, of.destination})) {
    return launch<BFloat16, BFloat16>(wanted, of, queue);
  }
  const Matrices words{as_words(of.source), as_words(of.cached), as_words(of.destination),
                       of.places};
  dispatch_width<float>({words.source, words.cached, words.destination}, [&](auto pack) {
    launch<float, float, decltype(pack)::value>(wanted, words, queue);
  });
}

Addresses addresses_of(const ConstMatrixView& matrix) {
  return {static_cast<const std::byte*>(matrix.data),
          matrix.stride * static_cast<std::int64_t>(size_of(matrix.dtype))};
}

void locate(const Wanted& wanted, const GatherCachedRowsArgs& args, const Queue& queue) {
  const auto places = static_cast<std::int64_t>(args.places.size());
  const std::int64_t most = std::max(wanted.count, places);
  if (most == 0 || (args.hits.empty() && places == 0)) return;
  locate_rows<<<blocks_for(most), kBlock, 0, queue.raw()>>>(
      wanted, {.hits = reinterpret_cast<unsigned long long*>(args.hits.data()),
               .places = args.places.data(),
               .count = places,
               .first_placed = args.first_placed,
               .cached = addresses_of(args.cache.rows),
               .destination = addresses_of(args.gather.destination)});
  check_launch("locate_rows");
}

template <class T, int kPack>
void launch_placed(const GatherPlacedRowsArgs& args, const MatrixView& to, const Queue& queue) {
  const RowLaunch launch = over_rows(to.rows, to.cols / kPack);
  copy_placed_rows<T, kPack><<<launch.grid, launch.block, 0, queue.raw()>>>(
      args.places.data(), args.rows.data(), to.rows, to.cols, rows_of<T>(to));
  check_launch("copy_placed_rows");
}

}  // namespace

void gather_placed_rows(const GatherPlacedRowsArgs& args, const Queue& queue) {
  const MatrixView& to = args.destination;
  GSPLIT_CHECK(to.rows == static_cast<std::int64_t>(args.rows.size()));
  if (to.rows == 0 || to.cols == 0) return;
  const ConstMatrixView place{nullptr, to.dtype, 0, to.cols, to.cols};
  if (!have_words({place, to})) return launch_placed<BFloat16, 1>(args, to, queue);
  const MatrixView words = as_words(to);
  dispatch_width<float>({as_words(place), words}, [&](auto pack) {
    launch_placed<float, decltype(pack)::value>(args, words, queue);
  });
}

void gather_cached_rows(const GatherCachedRowsArgs& args, const Queue& queue) {
  const auto& [source, rows, destination] = args.gather;
  GSPLIT_CHECK(destination.rows == static_cast<std::int64_t>(rows.size()));
  GSPLIT_CHECK(destination.cols == source.cols && args.cache.rows.cols == source.cols);
  GSPLIT_CHECK(args.cache.rows.dtype == source.dtype);
  GSPLIT_CHECK(args.places.empty() || destination.dtype == source.dtype);
  const Wanted wanted{rows.data(), args.cache.slots.data(), destination.rows};
  locate(wanted, args, queue);
  if (rows.empty() || source.cols == 0) return;
  const Matrices of{source, args.cache.rows, destination, data_or_null<const void*>(args.places)};
  if (source.dtype == destination.dtype) return copy_bytes(wanted, of, queue);
  dispatch_storage(source.dtype, [&](auto from) {
    dispatch_rows(destination.dtype, [&](auto to) {
      if constexpr (!std::is_same_v<decltype(from), decltype(to)>) {
        launch<decltype(from), decltype(to)>(wanted, of, queue);
      }
    });
  });
}

}  // namespace gsplit::cuda
