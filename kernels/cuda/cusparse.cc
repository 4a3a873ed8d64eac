#include "kernels/cuda/cusparse.h"

#include "kernels/cuda/check.h"

namespace gsplit::cuda {
namespace {

// Descriptors of what is only read take the same pointers: cuSPARSE's own samples cast alike.
void* writable(const void* data) { return const_cast<void*>(data); }

}  // namespace

Cusparse::Cusparse(CudaMemory& memory) : memory_(memory) {
  memory.make_current();
  check(cusparseCreate(&handle_), "starting");
}

Cusparse::~Cusparse() { cusparseDestroy(handle_); }

cusparseSpMatDescr_t Cusparse::matrix(const CsrShape& shape, const void* indptr,
                                      const void* columns, void* values) {
  if (cusparseSpMatDescr_t known = matrices_.find(shape)) {
    check(cusparseCsrSetPointers(known, writable(indptr), writable(columns), values),
          "describing a block");
    return known;
  }
  cusparseSpMatDescr_t made = nullptr;
  check(cusparseCreateCsr(&made, shape.rows, shape.columns, shape.edges, writable(indptr),
                          writable(columns), values, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I,
                          CUSPARSE_INDEX_BASE_ZERO, shape.type),
        "describing a block");
  return matrices_.keep(shape, made);
}

cusparseDnMatDescr_t Cusparse::rows(RowsDescriptors& known, const RowsShape& shape, void* data) {
  if (cusparseDnMatDescr_t found = known.find(shape)) {
    check(cusparseDnMatSetValues(found, data), "describing rows");
    return found;
  }
  cusparseDnMatDescr_t made = nullptr;
  check(cusparseCreateDnMat(&made, shape.rows, shape.cols, shape.stride, data, shape.type,
                            CUSPARSE_ORDER_ROW),
        "describing rows");
  return known.keep(shape, made);
}

cusparseDnMatDescr_t Cusparse::source(const RowsShape& shape, const void* data) {
  return rows(sources_, shape, writable(data));
}

cusparseDnMatDescr_t Cusparse::output(const RowsShape& shape, void* data) {
  return rows(outputs_, shape, data);
}

void* Cusparse::workspace(std::size_t bytes) {
  if (workspace_.size() < bytes) workspace_ = Buffer<std::byte>(memory_, bytes);
  return workspace_.data();
}

}  // namespace gsplit::cuda
