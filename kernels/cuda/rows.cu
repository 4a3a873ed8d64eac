// Rows by index: gather_rows, add_rows, scale_rows and add; convert_rows. Bound by memory: each
// element is read once and written once, in packs of 16 bytes where rows allow.
#include <cuda_bf16.h>

#include "kernels/cuda/launch.cuh"

namespace gsplit::cuda {
namespace {

/// destination[i] = source[rows[i]], or source[i] without rows; added where kAdd says so.
struct RowCopy {
  const RowIndex* from = nullptr;  ///< (count) row of the source; null: i
  const RowIndex* to = nullptr;    ///< (count) row of the destination; null: i
  std::int64_t count = 0;
  std::int64_t cols = 0;
};

__device__ std::int64_t picked(const RowIndex* rows, std::int64_t i) {
  return rows == nullptr ? i : std::int64_t{rows[i]};
}

template <class To, class From>
__device__ To converted(From x) {
  if constexpr (std::is_same_v<To, BFloat16>) {
    return {__bfloat16_as_ushort(__float2bfloat16_rn(static_cast<float>(x)))};
  } else {
    return static_cast<To>(x);
  }
}

template <class From, class To, int kPack, bool kAdd>
__global__ void copy_rows(RowCopy copy, Rows<const From> source, Rows<To> destination) {
  const std::int64_t i = row_of_thread();
  if (i >= copy.count) return;
  const From* const from = source.row(picked(copy.from, i));
  To* const to = destination.row(picked(copy.to, i));
  for (std::int64_t c = threadIdx.x * kPack; c < copy.cols; c += blockDim.x * kPack) {
    const Pack<From, kPack> values = pack_at<kPack>(from + c);
    Pack<To, kPack> result;
    if constexpr (kAdd) result = pack_at<kPack>(to + c);
    for (int p = 0; p < kPack; ++p) {
      const To value = converted<To>(widen(values.value[p]));
      if constexpr (kAdd) {
        result.value[p] = result.value[p] + value;
      } else {
        result.value[p] = value;
      }
    }
    pack_at<kPack>(to + c) = result;
  }
}

template <class T, int kPack>
__global__ void scale_rows_kernel(Rows<T> matrix, std::int64_t rows, std::int64_t cols,
                                  const double* factors) {
  const std::int64_t i = row_of_thread();
  if (i >= rows) return;
  T* const row = matrix.row(i);
  const T factor = static_cast<T>(factors[i]);
  for (std::int64_t c = threadIdx.x * kPack; c < cols; c += blockDim.x * kPack) {
    Pack<T, kPack> values = pack_at<kPack>(row + c);
    for (int p = 0; p < kPack; ++p) values.value[p] *= factor;
    pack_at<kPack>(row + c) = values;
  }
}

template <class From, class To, int kPack, bool kAdd>
void launch_copy(const RowCopy& copy, const ConstMatrixView& source, const MatrixView& destination,
                 const Queue& queue) {
  const RowLaunch launch = over_rows(copy.count, copy.cols / kPack);
  copy_rows<From, To, kPack, kAdd><<<launch.grid, launch.block, 0, queue.raw()>>>(
      copy, rows_of<From>(source), rows_of<To>(destination));
  check_launch("copy_rows");
}

template <class T, bool kAdd>
void copy_same_type(const RowCopy& copy, const ConstMatrixView& source,
                    const MatrixView& destination, const Queue& queue) {
  dispatch_width<T>({source, destination}, [&](auto pack) {
    launch_copy<T, T, decltype(pack)::value, kAdd>(copy, source, destination, queue);
  });
}

}  // namespace

void gather_rows(const GatherRowsArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.destination.rows == static_cast<std::int64_t>(args.rows.size()));
  GSPLIT_CHECK(args.destination.cols == args.source.cols);
  if (args.rows.empty() || args.source.cols == 0) return;
  const RowCopy copy{args.rows.data(), nullptr, args.destination.rows, args.destination.cols};
  dispatch_storage(args.source.dtype, [&](auto from) {
    dispatch_compute(args.destination.dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      if constexpr (std::is_same_v<From, To>) {
        copy_same_type<To, false>(copy, args.source, args.destination, queue);
      } else {
        launch_copy<From, To, 1, false>(copy, args.source, args.destination, queue);
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
      launch_copy<BFloat16, decltype(to), 1, false>(copy, args.source, args.destination, queue);
    });
  } else {
    GSPLIT_CHECK(args.destination.dtype == DType::kBF16);
    dispatch_compute(args.source.dtype, [&](auto from) {
      launch_copy<decltype(from), BFloat16, 1, false>(copy, args.source, args.destination, queue);
    });
  }
}

void add_rows(const AddRowsArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.source.dtype == args.destination.dtype);
  GSPLIT_CHECK(args.source.rows == static_cast<std::int64_t>(args.rows.size()));
  if (args.rows.empty() || args.source.cols == 0) return;
  const RowCopy copy{nullptr, args.rows.data(), args.source.rows, args.source.cols};
  dispatch_compute(args.source.dtype, [&](auto zero) {
    copy_same_type<decltype(zero), true>(copy, args.source, args.destination, queue);
  });
}

void add(const AddArgs& args, const Queue& queue) {
  GSPLIT_CHECK(args.source.rows == args.destination.rows);
  GSPLIT_CHECK(args.source.cols == args.destination.cols);
  if (args.source.rows == 0 || args.source.cols == 0) return;
  const RowCopy copy{nullptr, nullptr, args.source.rows, args.source.cols};
  dispatch_compute(args.destination.dtype, [&](auto zero) {
    copy_same_type<decltype(zero), true>(copy, args.source, args.destination, queue);
  });
}

void scale_rows(const ScaleRowsArgs& args, const Queue& queue) {
  const MatrixView& matrix = args.matrix;
  GSPLIT_CHECK(matrix.rows == static_cast<std::int64_t>(args.factors.size()));
  if (matrix.rows == 0 || matrix.cols == 0) return;
  dispatch_compute(matrix.dtype, [&](auto zero) {
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
