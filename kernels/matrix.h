// Row-major matrices with a run-time element type: views for the seams, an owner for the inside.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"
#include "kernels/memory.h"

namespace gsplit {

/// Read-only (rows, cols) of `dtype`; row i starts at element i * stride, stride >= cols. Does not
/// own.
struct ConstMatrixView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;

  template <class T>
  const T* row(std::int64_t i) const {
    return static_cast<const T*>(data) + i * stride;
  }
  /// Rows [begin, begin + count). REQUIRES: they exist.
  ConstMatrixView slice(std::int64_t begin, std::int64_t count) const;
  /// Columns [begin, begin + count). REQUIRES: they exist.
  ConstMatrixView columns(std::int64_t begin, std::int64_t count) const;
};

/// The same, writable.
struct MatrixView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;

  template <class T>
  T* row(std::int64_t i) const {
    return static_cast<T*>(data) + i * stride;
  }
  MatrixView slice(std::int64_t begin, std::int64_t count) const;
  MatrixView columns(std::int64_t begin, std::int64_t count) const;
  operator ConstMatrixView() const { return {data, dtype, rows, cols, stride}; }
};

/// Owns a dense (rows, cols) matrix in device memory; fresh contents are undefined.
class Matrix {
 public:
  Matrix() = default;
  Matrix(Memory& memory, DType dtype, std::int64_t rows, std::int64_t cols)
      : buffer_(memory, static_cast<std::size_t>(rows * cols) * size_of(dtype)),
        dtype_(dtype),
        rows_(rows),
        cols_(cols) {}
  /// Refers to the elements of `owner`, which must outlive it.
  static Matrix borrowed(Matrix& owner) {
    Matrix matrix;
    matrix.buffer_ =
        Buffer<std::byte>::borrowed(static_cast<std::byte*>(owner.data()), owner.bytes());
    matrix.dtype_ = owner.dtype_;
    matrix.rows_ = owner.rows_;
    matrix.cols_ = owner.cols_;
    return matrix;
  }

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  DType dtype() const { return dtype_; }
  std::size_t bytes() const { return buffer_.size(); }
  void* data() { return buffer_.data(); }
  MatrixView view() { return {buffer_.data(), dtype_, rows_, cols_, cols_}; }
  ConstMatrixView view() const { return {buffer_.data(), dtype_, rows_, cols_, cols_}; }

 private:
  Buffer<std::byte> buffer_;
  DType dtype_ = DType::kF32;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
};

inline ConstMatrixView ConstMatrixView::slice(std::int64_t begin, std::int64_t count) const {
  GSPLIT_CHECK(begin >= 0 && count >= 0 && begin + count <= rows);
  const auto* base = static_cast<const std::byte*>(data);
  return {
      base == nullptr ? base : base + begin * stride * static_cast<std::int64_t>(size_of(dtype)),
      dtype, count, cols, stride};
}

inline ConstMatrixView ConstMatrixView::columns(std::int64_t begin, std::int64_t count) const {
  GSPLIT_CHECK(begin >= 0 && count >= 0 && begin + count <= cols);
  const auto* base = static_cast<const std::byte*>(data);
  return {base == nullptr ? base : base + begin * static_cast<std::int64_t>(size_of(dtype)), dtype,
          rows, count, stride};
}

inline MatrixView MatrixView::columns(std::int64_t begin, std::int64_t count) const {
  const ConstMatrixView part = static_cast<ConstMatrixView>(*this).columns(begin, count);
  return {const_cast<void*>(part.data), part.dtype, part.rows, part.cols, part.stride};
}

inline MatrixView MatrixView::slice(std::int64_t begin, std::int64_t count) const {
  const ConstMatrixView part = static_cast<ConstMatrixView>(*this).slice(begin, count);
  return {const_cast<void*>(part.data), part.dtype, part.rows, part.cols, part.stride};
}

}  // namespace gsplit
