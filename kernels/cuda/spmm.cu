// Block aggregation by cuSPARSE's SpMM, to compare our own kernel with. All weights become the
// values of a CSR matrix; its own rows' term is added afterwards.
//
// CSR_ALG3 is the algorithm that NVIDIA's manual (cuSPARSE, section cusparseSpMM) calls bit-wise
// deterministic for CSR; ALG2, which it recommends for row-major matrices, is not. It asks for a
// matrix that is not transposed: the backward pass multiplies by the inverse CSR. A block is
// multiplied by once in each direction, so preprocessing, which pays where a pattern is used again,
// is left out. Descriptors and workspace are reused (cusparse.h); values come from the backend's
// free blocks.
#include <limits>

#include "kernels/cuda/aggregate.cuh"
#include "kernels/cuda/cusparse.h"

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
  for (std::int64_t c = first_column<kPack>(); c < op.cols; c += column_step<kPack>()) {
    add_scaled(self, pack_at<kPack>(op.source.row(i) + c), pack_at<kPack>(op.output.row(i) + c));
  }
}

template <class T>
constexpr cudaDataType kType = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_64F;

/// output = values * source
template <class T>
void multiply(const WeightedSum<T>& op, std::int64_t sources, Buffer<T>& values, Cusparse& cusparse,
              const Queue& queue) {
  const CsrShape matrix{op.rows, sources, static_cast<std::int64_t>(values.size()), kType<T>};
  const RowsShape read{sources, op.cols, op.source.stride, kType<T>};
  const RowsShape written{op.rows, op.cols, op.output.stride, kType<T>};
  const cusparseSpMatDescr_t block = cusparse.matrix(matrix, op.indptr, op.columns, values.data());
  const cusparseDnMatDescr_t from = cusparse.source(read, op.source.data);
  const cusparseDnMatDescr_t to = cusparse.output(written, op.output.data);
  constexpr auto kAsItIs = CUSPARSE_OPERATION_NON_TRANSPOSE;
  constexpr auto kAlgorithm = CUSPARSE_SPMM_CSR_ALG3;
  const T one = 1, zero = 0;
  std::size_t bytes = 0;
  check(cusparseSetStream(cusparse.handle(), queue.raw()), "setting the stream");
  check(cusparseSpMM_bufferSize(cusparse.handle(), kAsItIs, kAsItIs, &one, block, from, &zero, to,
                                kType<T>, kAlgorithm, &bytes),
        "asking for the workspace of a sparse product");
  check(cusparseSpMM(cusparse.handle(), kAsItIs, kAsItIs, &one, block, from, &zero, to, kType<T>,
                     kAlgorithm, cusparse.workspace(bytes)),
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
/// It refuses one with more elements than places, as a block of parallel edges may be.
bool is_for_cusparse(std::size_t edges, const ConstMatrixView& source, std::int64_t rows) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto count = static_cast<std::int64_t>(edges);
  return count > 0 && count <= kMost && count <= rows * source.rows && source.cols > 0;
}

template <class T>
void sum(const WeightedSum<T>& op, std::size_t edges, const ConstMatrixView& source,
         const MatrixView& output, Cusparse& cusparse, const Queue& queue) {
  Buffer<T> values = values_of(op, edges, queue);
  multiply(op, source.rows, values, cusparse, queue);
  add_own(op, source, output, queue);
}

}  // namespace

void spmm(const AggregateArgs& args, Cusparse& cusparse, const Queue& queue) {
  const bool in_parts = !args.only.is_all() || args.before.rows > 0;
  if (in_parts || !args.places.empty() ||
      !is_for_cusparse(args.columns.size(), args.source, args.destination.rows)) {
    return aggregate(args, queue);
  }
  dispatch_compute(args.source.dtype, [&](auto zero) {
    sum(forward_sum<decltype(zero)>(args), args.columns.size(), args.source, args.destination,
        cusparse, queue);
  });
}

void spmm_backward(const AggregateBackwardArgs& args, Cusparse& cusparse, const Queue& queue) {
  const std::size_t edges = args.inverse_destinations.size();
  if (args.some_sources ||
      !is_for_cusparse(edges, args.destination_gradient, args.source_gradient.rows)) {
    return aggregate_backward(args, queue);
  }
  dispatch_compute(args.source_gradient.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Buffer<T> scales = scales_of<T>(args.indptr, args.options, queue);
    sum(backward_sum<T>(args, scales), edges, args.destination_gradient, args.source_gradient,
        cusparse, queue);
  });
}

}  // namespace gsplit::cuda
