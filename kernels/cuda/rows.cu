// Rows by index: gather_rows, add_rows, scale_rows and add; convert_rows. Bound by memory: each
// element is read once and written once, in packs of 16 bytes where rows allow.
#include "kernels/cuda/copy_row.cuh"

namespace gsplit::cuda {
namespace {

/// Which row of the source goes to which of the destination.
struct RowCopy {
  const RowIndex* from = nullptr;  ///< (count) row of the source; null: i
  const RowIndex* to = nullptr;    ///< (count) row of the destination; null: i
  std::int64_t count = 0;
  std::int64_t cols = 0;
};

__device__ std::int64_t picked(const RowIndex* rows, std::int64_t i) {
  return rows == nullptr ? i : std::int64_t{rows[i]};
}

/// destination[to[i]] = source[from[i]]
template <class From, class To, int kPack>
__global__ void copy_rows(RowCopy copy, Rows<const From> source, Rows<To> destination) {
  const std::int64_t i = row_of_thread();
  if (i >= copy.count) return;
  copy_row<kPack>(source.row(picked(copy.from, i)), destination.row(picked(copy.to, i)), copy.cols);
}

/// destination[to[i]] += source[i]
template <class T, int kPack>
__global__ void add_rows_kernel(RowCopy copy, Rows<const T> source, Rows<T> destination) {
  const std::int64_t i = row_of_thread();
  if (i >= copy.count) return;
  const T* const from = source.row(i);
  T* const to = destination.row(picked(copy.to, i));
  for (std::int64_t c = first_column<kPack>(); c < copy.cols; c += column_step<kPack>()) {
    const Pack<T, kPack> values = pack_at<kPack>(from + c);
    Pack<T, kPack> sum = pack_at<kPack>(to + c);
    for (int p = 0; p < kPack; ++p) {
      sum.value[p] = narrow<T>(widen(sum.value[p]) + widen(values.value[p]));
    }
    pack_at<kPack>(to + c) = sum;
  }
}

template <class T, int kPack>
__global__ void scale_rows_kernel(Rows<T> matrix, std::int64_t rows, std::int64_t cols,
                                  const double* factors) {
  const std::int64_t i = row_of_thread();
  if (i >= rows) return;
  T* const row = matrix.row(i);
  const auto factor = static_cast<compute_type<T>>(factors[i]);
  for (std::int64_t c = first_column<kPack>(); c < cols; c += column_step<kPack>()) {
    Pack<T, kPack> values = pack_at<kPack>(row + c);
    for (int p = 0; p < kPack; ++p) {
      values.value[p] = narrow<T>(widen(values.value[p]) * factor);
    }
    pack_at<kPack>(row + c) = values;
  }
}

template <class From, class To, int kPack = 1>
void launch_copy(const RowCopy& copy, const ConstMatrixView& source, const MatrixView& destination,
                 const Queue& queue) {
  const RowLaunch launch = over_rows(copy.count, copy.cols / kPack);
  copy_rows<From, To, kPack><<<launch.grid, launch.block, 0, queue.raw()>>>(
      copy, rows_of<From>(source), rows_of<To>(destination));
  check_launch("copy_rows");
}

/// Of one dtype: what it is does not matter, so that one kernel is for all that consist of words.
void copy_bytes(RowCopy copy, const ConstMatrixView& source, const MatrixView& destination,
                const Queue& queue) {
  if (!have_words({source, destination})) {
    return launch_copy<BFloat16, BFloat16>(copy, source, destination, queue);
  }
  const ConstMatrixView from = as_words(source);
  const MatrixView to = as_words(destination);
  copy.cols = to.cols;
  dispatch_width<float>({from, to}, [&](auto pack) {
    launch_copy<float, float, decltype(pack)::value>(copy, from, to, queue);
  });
}

void add_to_rows(const RowCopy& copy, const ConstMatrixView& source, const MatrixView& destination,
                 const Queue& queue) {
  GSPLIT_CHECK(source.dtype == destination.dtype);
  if (source.rows == 0 || source.cols == 0) return;
  dispatch_rows(source.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>({source, destination}, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const RowLaunch launch = over_rows(copy.count, copy.cols / kPack);
      add_rows_kernel<T, kPack><<<launch.grid, launch.block, 0, queue.raw()>>>(
          copy, rows_of<T>(source), rows_of<T>(destination));
      check_launch("add_rows_kernel");
    });
  });
}

}  // namespace

void gather_rows(const GatherRowsArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.destination.rows == static_cast<std::int64_t>(args.rows.size()));
  GSPLIT_CHECK(args.destination.cols == args.source.cols);
  if (args.rows.empty() || args.source.cols == 0) return;
  const RowCopy copy{args.rows.data(), nullptr, args.destination.rows, args.destination.cols};
  if (args.source.dtype == args.destination.dtype) {
    return copy_bytes(copy, args.source, args.destination, queue);
  }
  dispatch_storage(args.source.dtype, [&](auto from) {
    dispatch_rows(args.destination.dtype, [&](auto to) {
      if constexpr (!std::is_same_v<decltype(from), decltype(to)>) {
        launch_copy<decltype(from), decltype(to)>(copy, args.source, args.destination, queue);
      }
    });
  });
}

void convert_rows(const ConvertRowsArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.source.rows == args.destination.rows);
  GSPLIT_CHECK(args.source.cols == args.destination.cols);
  if (args.source.rows == 0 || args.source.cols == 0) return;
  const RowCopy copy{nullptr, nullptr, args.source.rows, args.source.cols};
  if (args.source.dtype == DType::kBF16) {
    dispatch_compute(args.destination.dtype, [&](auto to) {
      launch_copy<BFloat16, decltype(to)>(copy, args.source, args.destination, queue);
    });
  } else {
    GSPLIT_CHECK(args.destination.dtype == DType::kBF16);
    dispatch_compute(args.source.dtype, [&](auto from) {
      launch_copy<decltype(from), BFloat16>(copy, args.source, args.destination, queue);
    });
  }
}

void add_rows(const AddRowsArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.source.rows == static_cast<std::int64_t>(args.rows.size()));
  const RowCopy copy{nullptr, args.rows.data(), args.source.rows, args.source.cols};
  add_to_rows(copy, args.source, args.destination, queue);
}

void add(const AddArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.source.rows == args.destination.rows);
  GSPLIT_CHECK(args.source.cols == args.destination.cols);
  const RowCopy copy{nullptr, nullptr, args.source.rows, args.source.cols};
  add_to_rows(copy, args.source, args.destination, queue);
}

void scale_rows(const ScaleRowsArgs& args, const Queue& queue) {
  const MatrixView& matrix = args.matrix;
  GSPLIT_CHECK(matrix.rows == static_cast<std::int64_t>(args.factors.size()));
  if (matrix.rows == 0 || matrix.cols == 0) return;
  dispatch_rows(matrix.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>({matrix}, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const RowLaunch launch = over_rows(matrix.rows, matrix.cols / kPack);
      scale_rows_kernel<T, kPack><<<launch.grid, launch.block, 0, queue.raw()>>>(
          rows_of<T>(matrix), matrix.rows, matrix.cols, args.factors.data());
      check_launch("scale_rows_kernel");
    });
  });
}

}  // namespace gsplit::cuda
