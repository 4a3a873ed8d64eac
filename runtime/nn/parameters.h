// All weights of a model in one flat vector, with one flat gradient beside it: one all-reduce and
// one optimizer op a step. Names and shapes are PyTorch Geometric's.
#pragma once

#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace gsplit {

/// One named tensor inside the flat vector.
struct Parameter {
  std::string name;                 ///< "convs.0.lin_l.weight"
  std::vector<std::int64_t> shape;  ///< (out, in), (out), (1, heads, width)
  std::int64_t offset = 0;          ///< in elements
  double init_bound =
      0;  ///< initial values are uniform in [init_center - init_bound, init_center + init_bound)
  double init_center = 0;

  /// As a matrix: (all but the last extent, the last extent).
  std::int64_t rows() const { return size() / cols(); }
  std::int64_t cols() const { return shape.back(); }
  std::int64_t size() const {
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  }
};

/// Index of a parameter in its ParameterSet.
struct ParameterId {
  std::size_t index = 0;
};

class ParameterSet {
 public:
  /// Declares a tensor. REQUIRES: not yet allocated.
  ParameterId add(std::string name, std::vector<std::int64_t> shape, double init_bound,
                  double init_center = 0);
  /// Allocates values and gradients (zeroed) and draws the initial values: element e of tensor
  /// number i is word e % 4 of the Philox block of (seed, Purpose::kInit, layer i, who e / 4);
  /// equal on every worker and in every precision up to rounding. Values and gradients are of
  /// compute_dtype(rows), `rows` being the dtype of a step's rows. Backend and stream must outlive
  /// the set.
  void allocate(Backend& backend, DType rows, std::uint64_t seed, Stream& stream);

  const std::vector<Parameter>& list() const { return list_; }
  DType dtype() const { return values_.dtype(); }
  /// Of all tensors without padding.
  std::int64_t num_elements() const;

  MatrixView value(ParameterId id) { return part_of(values_.view(), id); }
  /// For a product with rows of `rows`: the value, or for bf16 what round_operands() left.
  ConstMatrixView operand(ParameterId id, DType rows);
  /// Rounds all values to bf16. REQUIRES: allocated for rows of bf16.
  void round_operands();
  MatrixView gradient(ParameterId id) { return part_of(gradients_.view(), id); }
  MatrixView values() { return values_.view(); }        ///< (1, n), padding included
  MatrixView gradients() { return gradients_.view(); }  ///< (1, n)
  /// What lies in `flat`, (1, n) of the same layout, in the place of one tensor: (rows, cols).
  MatrixView part_of(MatrixView flat, ParameterId id) const;
  /// The elements of `flat`, (1, n) in device memory, for the host; and back. Wait for the stream.
  std::vector<std::byte> read(ConstMatrixView flat) const;
  void write(std::span<const std::byte> host, MatrixView flat) const;

 private:
  std::vector<Parameter> list_;
  Backend* backend_ = nullptr;  // as given to allocate()
  Stream* stream_ = nullptr;
  std::int64_t padded_size_ = 0;
  Matrix values_;
  Matrix gradients_;
  Matrix rounded_;  // as values_; without rows where a step's rows are not bf16
};

}  // namespace gsplit
