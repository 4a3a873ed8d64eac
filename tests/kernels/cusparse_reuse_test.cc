// What aggregation by cuSPARSE makes anew: nothing in a step whose blocks have the sizes of a step
// before. This executable exports the functions that it counts, so the module finds them first;
// each calls the library's own.
#include <cuda_runtime_api.h>
#include <cusparse.h>
#include <dlfcn.h>

#include "tests/kernels/conformance.h"

namespace {

struct Calls {
  int created = 0;    // descriptors
  int destroyed = 0;  // of them
  int repointed = 0;
  int handles = 0;
  int allocations = 0;
  int products = 0;
};
Calls calls;

/// The library's function of this name. REQUIRES: the module is loaded, and the library with it.
template <class Function>
Function* real(const char* library, const char* name) {
  void* const opened = ::dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  return reinterpret_cast<Function*>(::dlsym(opened, name));
}

}  // namespace

#define REAL_CUSPARSE(function) real<decltype(function)>("libcusparse.so.12", #function)

extern "C" {

cusparseStatus_t cusparseCreate(cusparseHandle_t* handle) {
  ++calls.handles;
  return REAL_CUSPARSE(cusparseCreate)(handle);
}

cusparseStatus_t cusparseCreateCsr(cusparseSpMatDescr_t* matrix, int64_t rows, int64_t cols,
                                   int64_t nnz, void* offsets, void* columns, void* values,
                                   cusparseIndexType_t offset_type, cusparseIndexType_t column_type,
                                   cusparseIndexBase_t base, cudaDataType type) {
  ++calls.created;
  return REAL_CUSPARSE(cusparseCreateCsr)(matrix, rows, cols, nnz, offsets, columns, values,
                                          offset_type, column_type, base, type);
}

cusparseStatus_t cusparseCreateDnMat(cusparseDnMatDescr_t* matrix, int64_t rows, int64_t cols,
                                     int64_t stride, void* values, cudaDataType type,
                                     cusparseOrder_t order) {
  ++calls.created;
  return REAL_CUSPARSE(cusparseCreateDnMat)(matrix, rows, cols, stride, values, type, order);
}

cusparseStatus_t cusparseDestroySpMat(cusparseConstSpMatDescr_t matrix) {
  ++calls.destroyed;
  return REAL_CUSPARSE(cusparseDestroySpMat)(matrix);
}

cusparseStatus_t cusparseDestroyDnMat(cusparseConstDnMatDescr_t matrix) {
  ++calls.destroyed;
  return REAL_CUSPARSE(cusparseDestroyDnMat)(matrix);
}

cusparseStatus_t cusparseCsrSetPointers(cusparseSpMatDescr_t matrix, void* offsets, void* columns,
                                        void* values) {
  ++calls.repointed;
  return REAL_CUSPARSE(cusparseCsrSetPointers)(matrix, offsets, columns, values);
}

cusparseStatus_t cusparseSpMM(cusparseHandle_t handle, cusparseOperation_t a_operation,
                              cusparseOperation_t b_operation, const void* alpha,
                              cusparseConstSpMatDescr_t a, cusparseConstDnMatDescr_t b,
                              const void* beta, cusparseDnMatDescr_t c, cudaDataType type,
                              cusparseSpMMAlg_t algorithm, void* workspace) {
  ++calls.products;
  return REAL_CUSPARSE(cusparseSpMM)(handle, a_operation, b_operation, alpha, a, b, beta, c, type,
                                     algorithm, workspace);
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  ++calls.allocations;
  return real<cudaError_t(void**, size_t)>("libcudart.so.13", "cudaMalloc")(data, bytes);
}
}

namespace gsplit {
namespace {

using namespace test;

class CusparseReuse : public Conformance {
 protected:
  /// Forward and backward over two layers, the last of them square.
  void step() {
    pass(random_csr_of(40, 90, 300), 90);
    pass(random_csr_of(60, 60, 200), 60);
  }
  /// What a step makes.
  Calls count(std::size_t steps = 1) {
    calls = {};
    for (std::size_t i = 0; i < steps; ++i) step();
    stream().synchronize();
    return calls;
  }

 private:
  /// Other edges at each call, of equal number.
  Csr random_csr_of(std::size_t rows, std::size_t cols, std::size_t edges) {
    Csr csr;
    for (std::size_t i = 1; i <= rows; ++i) {
      csr.indptr.push_back(static_cast<RowIndex>(edges * i / rows));
    }
    for (std::size_t e = 0; e < edges; ++e) {
      csr.columns.push_back(static_cast<RowIndex>(random_() % cols));
    }
    return csr;
  }
  void pass(const Csr& csr, std::size_t sources) {
    const AggregateOptions sum{.reduce = Reduce::kSum};
    const std::size_t rows = csr.indptr.size() - 1;
    const Rows from = random_rows(sources, 20), gradient = random_rows(rows, 20);
    Rows forward = zeros(rows, 20), backward = zeros(sources, 20);
    for (std::size_t i = 0; i < rows; ++i) {
      for (RowIndex e = csr.indptr[i]; e < csr.indptr[i + 1]; ++e) {
        for (std::size_t c = 0; c < 20; ++c) {
          forward[i][c] += from[csr.columns[e]][c];
          backward[csr.columns[e]][c] += gradient[i][c];
        }
      }
    }
    const Matrix source = to_matrix(from, 20), back = to_matrix(gradient, 20);
    expect_near(to_rows(aggregate(csr, source, sum, {}).view()), forward, 1, dtype());
    expect_near(to_rows(aggregate_backward(csr, sources, back, sum, {}).view()), backward, 1,
                dtype());
  }
};

TEST_P(CusparseReuse, AStepOfKnownSizesMakesNothing) {
  const Calls first = count();
  EXPECT_EQ(first.products, 4);
  EXPECT_GT(first.created, 0);
  EXPECT_GT(first.allocations, 0);
  const Calls later = count(3);
  EXPECT_EQ(later.products, 12);
  EXPECT_EQ(later.repointed, 12);
  EXPECT_EQ(later.created, 0) << "descriptors";
  EXPECT_EQ(later.destroyed, 0) << "descriptors";
  EXPECT_EQ(later.handles, 0);
  EXPECT_EQ(later.allocations, 0) << "workspace or values";
}

/// Sizes that keep changing take the place of those that were asked for longest ago.
TEST_P(CusparseReuse, DescriptorsDoNotPileUp) {
  calls = {};
  const Matrix from = to_matrix(random_rows(1, 4), 4);
  for (std::size_t rows = 1; rows <= 100; ++rows) {
    Csr csr{{0}, {0}};
    csr.indptr.resize(rows + 1, 1);
    const Matrix sums = aggregate(csr, from, {.reduce = Reduce::kSum}, {});
    EXPECT_EQ(to_rows(sums.view())[0], to_rows(from.view())[0]);
  }
  EXPECT_EQ(calls.products, 100);
  EXPECT_LE(calls.created - calls.destroyed, 2 * 16 + 1);
}

INSTANTIATE_TEST_SUITE_P(Types, CusparseReuse, testing::ValuesIn(row_types()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
