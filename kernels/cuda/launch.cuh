// What the kernels share: packs of elements that are loaded at once, the shape of launches over the
// rows of a matrix, reductions inside a warp.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/cuda/check.h"
#include "kernels/cuda/ops.h"

namespace gsplit::cuda {

inline constexpr int kBlock = 256;  // threads
inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

/// `Size` elements in one load: 16 bytes at most.
template <class T, int Size>
struct alignas(sizeof(T) * Size) Pack {
  T value[Size];
};

template <int Size, class T>
__device__ inline Pack<T, Size>& pack_at(T* address) {
  return *reinterpret_cast<Pack<T, Size>*>(address);
}

template <int Size, class T>
__device__ inline const Pack<T, Size>& pack_at(const T* address) {
  return *reinterpret_cast<const Pack<T, Size>*>(address);
}

/// Elements of 16 bytes.
template <class T>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(T));

/// Whether every row of the matrix can be read in packs of `size` elements, by loads of 16 bytes
/// where a pack has more.
inline bool has_packs(const ConstMatrixView& matrix, int size) {
  const std::size_t bytes = std::min<std::size_t>(16, size * size_of(matrix.dtype));
  return matrix.cols % size == 0 && matrix.stride % size == 0 &&
         reinterpret_cast<std::uintptr_t>(matrix.data) % bytes == 0;
}

/// Calls body(std::integral_constant<int, S>) with the elements a pack of T can have in all
/// `matrices`. Elements of bf16 come in packs of 8 bytes too: what has packs in fp32 has them then.
template <class T, class Body>
void dispatch_width(std::initializer_list<ConstMatrixView> matrices, Body&& body) {
  const auto all_have = [&](int size) {
    return std::all_of(matrices.begin(), matrices.end(),
                       [&](const ConstMatrixView& matrix) { return has_packs(matrix, size); });
  };
  if (all_have(kWide<T>)) return body(std::integral_constant<int, kWide<T>>{});
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (all_have(kWide<float>)) return body(std::integral_constant<int, kWide<float>>{});
  }
  body(std::integral_constant<int, 1>{});
}

/// A launch whose threads stand in groups, one group a row, the threads of a group along the row:
/// blockIdx.x * blockDim.y + threadIdx.y is the row; first_column() and column_step() say which of
/// its columns. A long row has several groups (blockIdx.y), so that one row alone fills a GPU too.
struct RowLaunch {
  dim3 grid;
  dim3 block;
};

/// `items`: what the threads of a row share out among themselves.
inline RowLaunch over_rows(std::int64_t rows, std::int64_t items) {
  const auto width = static_cast<unsigned>(
      std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(items, 1, kWarp))));
  const unsigned height = kBlock / width;
  constexpr std::int64_t kItemsOfThread = 8, kMostGroups = 65535;
  const std::int64_t groups =
      std::clamp<std::int64_t>(items / (width * kItemsOfThread), 1, kMostGroups);
  return {dim3(static_cast<unsigned>((rows + height - 1) / height), static_cast<unsigned>(groups)),
          dim3(width, height)};
}

/// Where a thread's packs of `Pack` columns begin, and how far they are apart.
template <int Pack>
__device__ std::int64_t first_column() {
  return (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * Pack;
}
template <int Pack>
__device__ std::int64_t column_step() {
  return std::int64_t{gridDim.y} * blockDim.x * Pack;
}

inline __device__ std::int64_t row_of_thread() {
  return std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
}

/// Blocks of kBlock threads for `items`, one each.
inline unsigned blocks_for(std::int64_t items) {
  return static_cast<unsigned>((items + kBlock - 1) / kBlock);
}

inline __device__ std::int64_t index_of_thread() {
  return std::int64_t{blockIdx.x} * kBlock + threadIdx.x;
}

/// An element of a storage type in the type of its arithmetic.
__device__ inline float widen(Half x) { return __half2float(__ushort_as_half(x.bits)); }
__device__ inline float widen(BFloat16 x) { return __uint_as_float(unsigned{x.bits} << 16); }
__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }

/// What arithmetic gives, as an element of T: bf16 is rounded, once.
template <class T, class Computed>
__device__ T narrow(Computed x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return {__bfloat16_as_ushort(__float2bfloat16_rn(static_cast<float>(x)))};
  } else {
    return static_cast<T>(x);
  }
}

template <class T>
const T* data_or_null(std::span<const T> values) {
  return values.empty() ? nullptr : values.data();
}

/// A matrix as kernels see it.
template <class T>
struct Rows {
  T* data;
  std::int64_t stride;
  __device__ T* row(std::int64_t i) const { return data + i * stride; }
};

template <class T>
Rows<const T> rows_of(const ConstMatrixView& matrix) {
  return {static_cast<const T*>(matrix.data), matrix.stride};
}

template <class T>
Rows<T> rows_of(const MatrixView& matrix) {
  return {static_cast<T*>(matrix.data), matrix.stride};
}

/// Sum over the lanes of a warp, in a fixed order, in every lane.
template <class T>
__device__ T warp_sum(T value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}

}  // namespace gsplit::cuda
