// What cuSPARSE needs from call to call: its handle, descriptors and one workspace.
//
// Descriptors are small host objects whose sizes cannot be changed, but whose pointers can: one
// that has the sizes asked for is pointed at the new arrays, so a step of known sizes makes none.
// Work that is queued does not look at them again.
#pragma once

#include <cusparse.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/cuda/memory.h"

namespace gsplit::cuda {

struct CsrShape {
  std::int64_t rows, columns, edges;
  cudaDataType type;
  bool operator==(const CsrShape&) const = default;
};

struct RowsShape {
  std::int64_t rows, cols, stride;
  cudaDataType type;
  bool operator==(const RowsShape&) const = default;
};

/// Descriptors of different shapes, the last kMost that were asked for.
template <class Shape, class Descriptor, class Destroy>
class Descriptors {
 public:
  static constexpr std::size_t kMost = 16;  // eight layers, forward and backward

  /// Null where there is none of this shape.
  Descriptor find(const Shape& shape) {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.shape == shape; });
    if (found == entries_.end()) return nullptr;
    std::rotate(found, found + 1, entries_.end());
    return entries_.back().descriptor.get();
  }
  Descriptor keep(const Shape& shape, Descriptor descriptor) {
    if (entries_.size() == kMost) entries_.erase(entries_.begin());
    entries_.push_back({shape, Owner(descriptor)});
    return descriptor;
  }

 private:
  using Owner = std::unique_ptr<std::remove_pointer_t<Descriptor>, Destroy>;
  struct Entry {
    Shape shape;
    Owner descriptor;
  };
  std::vector<Entry> entries_;  // the one asked for last comes last
};

/// Belongs to one backend and hence to one stream: products share the workspace in stream order.
class Cusparse {
 public:
  explicit Cusparse(CudaMemory& memory);
  ~Cusparse();
  Cusparse(const Cusparse&) = delete;
  Cusparse& operator=(const Cusparse&) = delete;

  /// Scalars in host memory.
  cusparseHandle_t handle() const { return handle_; }
  /// Valid until the next call of the same function. Indices are 32-bit.
  cusparseSpMatDescr_t matrix(const CsrShape& shape, const void* indptr, const void* columns,
                              void* values);
  cusparseDnMatDescr_t source(const RowsShape& shape, const void* data);
  cusparseDnMatDescr_t output(const RowsShape& shape, void* data);
  /// At least `bytes`; kept, and made larger when more is asked for.
  void* workspace(std::size_t bytes);

 private:
  struct Destroy {
    void operator()(cusparseSpMatDescr_t matrix) const { cusparseDestroySpMat(matrix); }
    void operator()(cusparseDnMatDescr_t matrix) const { cusparseDestroyDnMat(matrix); }
  };
  using RowsDescriptors = Descriptors<RowsShape, cusparseDnMatDescr_t, Destroy>;
  static cusparseDnMatDescr_t rows(RowsDescriptors& known, const RowsShape& shape, void* data);

  CudaMemory& memory_;
  cusparseHandle_t handle_ = nullptr;
  Descriptors<CsrShape, cusparseSpMatDescr_t, Destroy> matrices_;
  RowsDescriptors sources_, outputs_;  // apart: a product's two may have one shape
  Buffer<std::byte> workspace_;
};

}  // namespace gsplit::cuda
