// Block aggregation by cuSPARSE's SpMM, to compare our own kernel with. All weights become the
// values of a CSR matrix; its own rows' term is added afterwards.
//
// CSR_ALG3 is the algorithm that NVIDIA's manual (cuSPARSE, section cusparseSpMM) calls bit-wise
// deterministic for CSR; ALG2, which it recommends for row-major matrices, is not. It asks for a
// matrix that is not transposed: the backward pass multiplies by the inverse CSR. A block is
// multiplied by once in each direction, so preprocessing, which pays where a pattern is used again,
// is left out; so are kept descriptors, whose sizes are those of one block and cannot be changed.
// They are small host objects. Values and workspace come from the backend's free blocks: after the
// first steps nothing is allocated.
#include <limits>
#include <memory>

#include "kernels/cuda/aggregate.cuh"

namespace gsplit::cuda {
namespace {

constexpr int kLanes = 8;  // that walk one row's list

template <class T>
__global__ void edge_values(WeightedSum<T> op, T* values) {
  const std::int64_t i = index_of_thread() / kLanes;
  if (i >= op.rows) return;
  const RowIndex end = op.indptr[i + 1];
  const T scale = op.scale_of(i);
  for (RowIndex e = op.indptr[i] + threadIdx.x % kLanes; e < end; e += kLanes) {
    values[e] = scale * op.weight(e, op.columns[e], i);
  }
}

template <class T, int kPack>
__global__ void add_own_rows(WeightedSum<T> op) {
  const std::int64_t i = row_of_thread();
  if (i >= op.rows) return;
  const T self = op.self_scale_of(i);
  if (self == T{0}) return;
  for (std::int64_t c = threadIdx.x * kPack; c < op.cols; c += blockDim.x * kPack) {
    add_scaled(self, pack_at<kPack>(op.source.row(i) + c), pack_at<kPack>(op.output.row(i) + c));
  }
}

struct Destroy {
  void operator()(cusparseSpMatDescr_t matrix) const { cusparseDestroySpMat(matrix); }
  void operator()(cusparseDnMatDescr_t matrix) const { cusparseDestroyDnMat(matrix); }
};
using SparseMatrix = std::unique_ptr<cusparseSpMatDescr, Destroy>;
using DenseMatrix = std::unique_ptr<cusparseDnMatDescr, Destroy>;

template <class T>
constexpr cudaDataType kType = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_64F;

// Descriptors of what is only read take the same pointers: cuSPARSE's own samples cast alike.
template <class T>
T* writable(const T* data) {
  return const_cast<T*>(data);
}

template <class T>
SparseMatrix sparse_matrix(const WeightedSum<T>& op, std::int64_t columns, Buffer<T>& values) {
  cusparseSpMatDescr_t matrix = nullptr;
  check(
      cusparseCreateCsr(&matrix, op.rows, columns, static_cast<std::int64_t>(values.size()),
                        writable(op.indptr), writable(op.columns), values.data(),
                        CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, kType<T>),
      "describing a block");
  return SparseMatrix(matrix);
}

template <class T>
DenseMatrix dense_matrix(T* data, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  cusparseDnMatDescr_t matrix = nullptr;
  check(cusparseCreateDnMat(&matrix, rows, cols, stride, data, kType<T>, CUSPARSE_ORDER_ROW),
        "describing rows");
  return DenseMatrix(matrix);
}

/// output = values * source
template <class T>
void multiply(const WeightedSum<T>& op, std::int64_t sources, Buffer<T>& values,
              cusparseHandle_t cusparse, const Queue& queue) {
  const SparseMatrix block = sparse_matrix(op, sources, values);
  const DenseMatrix from =
      dense_matrix(writable(op.source.data), sources, op.cols, op.source.stride);
  const DenseMatrix to = dense_matrix(op.output.data, op.rows, op.cols, op.output.stride);
  constexpr auto kAsItIs = CUSPARSE_OPERATION_NON_TRANSPOSE;
  constexpr auto kAlgorithm = CUSPARSE_SPMM_CSR_ALG3;
  const T one = 1, zero = 0;
  std::size_t bytes = 0;
  check(cusparseSetStream(cusparse, queue.raw()), "setting the stream");
  check(cusparseSpMM_bufferSize(cusparse, kAsItIs, kAsItIs, &one, block.get(), from.get(), &zero,
                                to.get(), kType<T>, kAlgorithm, &bytes),
        "asking for the workspace of a sparse product");
  Buffer<std::byte> workspace(queue.memory, bytes);
  check(cusparseSpMM(cusparse, kAsItIs, kAsItIs, &one, block.get(), from.get(), &zero, to.get(),
                     kType<T>, kAlgorithm, workspace.data()),
        "a sparse product");
}

template <class T>
Buffer<T> values_of(const WeightedSum<T>& op, std::size_t edges, const Queue& queue) {
  Buffer<T> values(queue.memory, edges);
  edge_values<T><<<blocks_for(op.rows * kLanes), kBlock, 0, queue.raw()>>>(op, values.data());
  check_launch("edge_values");
  return values;
}

template <class T>
void add_own(const WeightedSum<T>& op, const ConstMatrixView& source, const MatrixView& output,
             const Queue& queue) {
  if (op.self_scale == nullptr) return;
  dispatch_width<T>({source, output}, [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    const RowLaunch launch = over_rows(op.rows, op.cols / kPack);
    add_own_rows<T, kPack><<<launch.grid, launch.block, 0, queue.raw()>>>(op);
    check_launch("add_own_rows");
  });
}

/// cuSPARSE is asked for what it is made for: a matrix with elements, numbered by signed integers.
bool is_for_cusparse(std::size_t edges, const ConstMatrixView& source) {
  constexpr auto kMost = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
  return edges > 0 && edges <= kMost && source.cols > 0;
}

template <class T>
void sum(const WeightedSum<T>& op, std::size_t edges, const ConstMatrixView& source,
         const MatrixView& output, cusparseHandle_t cusparse, const Queue& queue) {
  Buffer<T> values = values_of(op, edges, queue);
  multiply(op, source.rows, values, cusparse, queue);
  add_own(op, source, output, queue);
}

}  // namespace

void spmm(const AggregateArgs& args, cusparseHandle_t cusparse, const Queue& queue) {
  if (!is_for_cusparse(args.columns.size(), args.source)) return aggregate(args, queue);
  dispatch_compute(args.source.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Buffer<T> scales = scales_of<T>(args.indptr, args.options, queue);
    sum(forward_sum<T>(args, scales), args.columns.size(), args.source, args.destination, cusparse,
        queue);
  });
}

void spmm_backward(const AggregateBackwardArgs& args, cusparseHandle_t cusparse,
                   const Queue& queue) {
  const std::size_t edges = args.inverse_destinations.size();
  if (!is_for_cusparse(edges, args.destination_gradient)) return aggregate_backward(args, queue);
  dispatch_compute(args.source_gradient.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Buffer<T> scales = scales_of<T>(args.indptr, args.options, queue);
    sum(backward_sum<T>(args, scales), edges, args.destination_gradient, args.source_gradient,
        cusparse, queue);
  });
}

}  // namespace gsplit::cuda
