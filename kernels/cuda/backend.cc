// Binds the interfaces to the GPU's ops.
#include "kernels/cuda/backend.h"

#include <nvtx3/nvToolsExt.h>

#include <string>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cusparse.h"
#include "kernels/cuda/id_set.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/sampling.h"

namespace gsplit::cuda {
namespace {

class CudaSampling final : public SamplingOps {
 public:
  explicit CudaSampling(CudaMemory& memory) : memory_(memory) {}
  std::unique_ptr<IdSet> make_id_set(std::uint64_t universe) override {
    return cuda::make_id_set(universe, memory_);
  }
  std::unique_ptr<PositionTable> make_position_table(std::size_t nodes) override {
    return cuda::make_position_table(nodes, memory_);
  }
  SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, Stream& stream) override {
    return cuda::sample_neighbors(args, {memory_, stream});
  }
  Growth grow(const GrowArgs& args, Stream& stream) override {
    return cuda::grow(args, {memory_, stream});
  }
  void relabel(const RelabelArgs& args, std::span<RowIndex> columns, Stream& stream) override {
    cuda::relabel(args, columns, {memory_, stream});
  }
  InverseCsr invert(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                    std::size_t num_columns, Stream& stream) override {
    return cuda::invert(indptr, columns, num_columns, {memory_, stream});
  }
  CoveredNodes cover(const CoverArgs& args, Stream& stream) override {
    return cuda::cover(args, {memory_, stream});
  }

 private:
  CudaMemory& memory_;
};

class CudaSparse : public SparseOps {
 public:
  explicit CudaSparse(CudaMemory& memory) : memory_(memory) {}
  void gather_rows(const GatherRowsArgs& args, Stream& stream) override {
    cuda::gather_rows(args, {memory_, stream});
  }
  void gather_cached_rows(const GatherCachedRowsArgs& args, Stream& stream) override {
    cuda::gather_cached_rows(args, {memory_, stream});
  }
  void gather_placed_rows(const GatherPlacedRowsArgs& args, Stream& stream) override {
    cuda::gather_placed_rows(args, {memory_, stream});
  }
  void convert_rows(const ConvertRowsArgs& args, Stream& stream) override {
    cuda::convert_rows(args, {memory_, stream});
  }
  void add_rows(const AddRowsArgs& args, Stream& stream) override {
    cuda::add_rows(args, {memory_, stream});
  }
  void scale_rows(const ScaleRowsArgs& args, Stream& stream) override {
    cuda::scale_rows(args, {memory_, stream});
  }
  void aggregate(const AggregateArgs& args, Stream& stream) override {
    cuda::aggregate(args, {memory_, stream});
  }
  void aggregate_backward(const AggregateBackwardArgs& args, Stream& stream) override {
    cuda::aggregate_backward(args, {memory_, stream});
  }
  void head_dots(const HeadDotsArgs& args, Stream& stream) override {
    cuda::head_dots(args, {memory_, stream});
  }
  void head_dots_backward(const HeadDotsBackwardArgs& args, Stream& stream) override {
    cuda::head_dots_backward(args, {memory_, stream});
  }
  void mean_heads(const MeanHeadsArgs& args, Stream& stream) override {
    cuda::mean_heads(args, {memory_, stream});
  }
  void mean_heads_backward(const MeanHeadsBackwardArgs& args, Stream& stream) override {
    cuda::mean_heads_backward(args, {memory_, stream});
  }
  void attention(const AttentionArgs& args, Stream& stream) override {
    cuda::attention(args, {memory_, stream});
  }
  void attention_backward(const AttentionBackwardArgs& args, Stream& stream) override {
    cuda::attention_backward(args, {memory_, stream});
  }

 protected:
  CudaMemory& memory_;
};

/// Aggregates by cuSPARSE.
class CusparseSparse final : public CudaSparse {
 public:
  explicit CusparseSparse(CudaMemory& memory) : CudaSparse(memory), cusparse_(memory) {}
  void aggregate(const AggregateArgs& args, Stream& stream) override {
    spmm(args, cusparse_, {memory_, stream});
  }
  void aggregate_backward(const AggregateBackwardArgs& args, Stream& stream) override {
    spmm_backward(args, cusparse_, {memory_, stream});
  }
  bool sums_in_parts() const override { return false; }

 private:
  Cusparse cusparse_;
};

std::unique_ptr<SparseOps> make_sparse(Spmm spmm, CudaMemory& memory) {
  if (spmm == Spmm::kCusparse) return std::make_unique<CusparseSparse>(memory);
  return std::make_unique<CudaSparse>(memory);
}

class CudaDense final : public DenseOps {
 public:
  CudaDense(CudaMemory& memory, Matmul matmul) : memory_(memory) {
    memory.make_current();
    check(cublasCreate(&cublas_), "starting");
    // Partial sums of bf16 products stay in fp32: the result is rounded once.
    const int mode = (matmul == Matmul::kTf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH) |
                     CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    check(cublasSetMathMode(cublas_, static_cast<cublasMath_t>(mode)),
          "choosing the arithmetic of products");
  }
  ~CudaDense() override { cublasDestroy(cublas_); }
  CudaDense(const CudaDense&) = delete;
  CudaDense& operator=(const CudaDense&) = delete;

  void gemm(const GemmArgs& args, Stream& stream) override {
    cuda::gemm(args, cublas_, {memory_, stream});
  }
  void sum_rows(const SumRowsArgs& args, Stream& stream) override {
    cuda::sum_rows(args, {memory_, stream});
  }
  void bias_activation_dropout(const BiasActivationDropoutArgs& args, Stream& stream) override {
    cuda::bias_activation_dropout(args, {memory_, stream});
  }
  void activation_dropout_backward(const ActivationDropoutBackwardArgs& args,
                                   Stream& stream) override {
    cuda::activation_dropout_backward(args, {memory_, stream});
  }
  void layer_norm(const LayerNormArgs& args, Stream& stream) override {
    cuda::layer_norm(args, {memory_, stream});
  }
  void layer_norm_backward(const LayerNormBackwardArgs& args, Stream& stream) override {
    cuda::layer_norm_backward(args, {memory_, stream});
  }
  void add(const AddArgs& args, Stream& stream) override { cuda::add(args, {memory_, stream}); }
  void normalize_rows(const NormalizeRowsArgs& args, Stream& stream) override {
    cuda::normalize_rows(args, {memory_, stream});
  }
  double smallest(ConstMatrixView matrix, Stream& stream) override {
    return cuda::smallest(matrix, {memory_, stream});
  }
  LossSums cross_entropy(const CrossEntropyArgs& args, Stream& stream) override {
    return cuda::cross_entropy(args, {memory_, stream});
  }
  LossSums binary_cross_entropy(const BinaryCrossEntropyArgs& args, Stream& stream) override {
    return cuda::binary_cross_entropy(args, {memory_, stream});
  }

 private:
  CudaMemory& memory_;
  cublasHandle_t cublas_ = nullptr;
};

class CudaOptimizer final : public OptimizerOps {
 public:
  explicit CudaOptimizer(CudaMemory& memory) : memory_(memory) {}
  void adam(const AdamArgs& args, Stream& stream) override { cuda::adam(args, {memory_, stream}); }
  void sgd(const SgdArgs& args, Stream& stream) override { cuda::sgd(args, {memory_, stream}); }
  double squared_norm(ConstMatrixView matrix, Stream& stream) override {
    return cuda::squared_norm(matrix, {memory_, stream});
  }
  void scale(MatrixView matrix, double factor, Stream& stream) override {
    cuda::scale(matrix, factor, {memory_, stream});
  }

 private:
  CudaMemory& memory_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const DeviceOptions& options)
      : device_(options.device),
        memory_(options.device, pinned_),
        sampling_(memory_),
        sparse_(make_sparse(options.spmm, memory_)),
        dense_(memory_, options.matmul),
        optimizer_(memory_) {}
  Memory& memory() override { return memory_; }
  SamplingOps& sampling() override { return sampling_; }
  SparseOps& sparse() override { return *sparse_; }
  DenseOps& dense() override { return dense_; }
  OptimizerOps& optimizer() override { return optimizer_; }
  Memory& pinned() override { return pinned_; }
  void enter_thread() override {}  // each op makes its GPU the current one
  void begin_range(const char* name) override { nvtxRangePushA(name); }
  void end_range() override { nvtxRangePop(); }
  std::string describe() const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device_), "asking for the GPU's name");
    return "cuda:" + std::to_string(device_) + " (" + properties.name + ")";
  }

 private:
  int device_;
  PinnedMemory pinned_;
  CudaMemory memory_;
  CudaSampling sampling_;
  std::unique_ptr<SparseOps> sparse_;
  CudaDense dense_;
  CudaOptimizer optimizer_;
};

}  // namespace

std::unique_ptr<Backend> make_backend(const DeviceOptions& options) {
  return std::make_unique<CudaBackend>(options);
}

}  // namespace gsplit::cuda
