// Binds the five interfaces to the CPU's ops. Streams are synchronous here: an op is done when its
// function returns.
#include "kernels/backend.h"

#include "kernels/cpu/ops.h"

namespace gsplit {
namespace {

class CpuSampling final : public SamplingOps {
 public:
  CpuSampling(Memory& memory, cpu::Team team) : memory_(memory), team_(team) {}
  std::unique_ptr<IdSet> make_id_set(std::uint64_t universe) override {
    return cpu::make_id_set(universe, team_);
  }
  std::unique_ptr<PositionTable> make_position_table(std::size_t nodes) override {
    return cpu::make_position_table(nodes, team_);
  }
  SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, Stream&) override {
    return cpu::sample_neighbors(args, memory_, team_);
  }
  Growth grow(const GrowArgs& args, Stream& stream) override {
    return cpu::grow(args, memory_, team_, stream);
  }
  void relabel(const RelabelArgs& args, std::span<RowIndex> columns, Stream&) override {
    cpu::relabel(args, columns, team_);
  }
  InverseCsr invert(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                    std::size_t num_columns, Stream&) override {
    return cpu::invert(indptr, columns, num_columns, memory_);
  }
  CoveredNodes cover(const CoverArgs& args, Stream&) override {
    return cpu::cover(args, memory_, team_);
  }

 private:
  Memory& memory_;
  cpu::Team team_;
};

class CpuSparse final : public SparseOps {
 public:
  CpuSparse(Memory& memory, cpu::Team team) : memory_(memory), team_(team) {}
  void gather_rows(const GatherRowsArgs& args, Stream&) override { cpu::gather_rows(args, team_); }
  void gather_cached_rows(const GatherCachedRowsArgs& args, Stream&) override {
    cpu::gather_cached_rows(args, team_);
  }
  void gather_placed_rows(const GatherPlacedRowsArgs& args, Stream&) override {
    cpu::gather_placed_rows(args, team_);
  }
  void convert_rows(const ConvertRowsArgs& args, Stream&) override {
    cpu::convert_rows(args, team_);
  }
  void add_rows(const AddRowsArgs& args, Stream&) override { cpu::add_rows(args, team_); }
  void scale_rows(const ScaleRowsArgs& args, Stream&) override { cpu::scale_rows(args, team_); }
  void aggregate(const AggregateArgs& args, Stream&) override { cpu::aggregate(args, team_); }
  void aggregate_backward(const AggregateBackwardArgs& args, Stream&) override {
    cpu::aggregate_backward(args, team_);
  }
  void head_dots(const HeadDotsArgs& args, Stream&) override { cpu::head_dots(args, team_); }
  void head_dots_backward(const HeadDotsBackwardArgs& args, Stream&) override {
    cpu::head_dots_backward(args, memory_, team_);
  }
  void mean_heads(const MeanHeadsArgs& args, Stream&) override { cpu::mean_heads(args, team_); }
  void mean_heads_backward(const MeanHeadsBackwardArgs& args, Stream&) override {
    cpu::mean_heads_backward(args, team_);
  }
  void attention(const AttentionArgs& args, Stream&) override { cpu::attention(args, team_); }
  void attention_backward(const AttentionBackwardArgs& args, Stream&) override {
    cpu::attention_backward(args, memory_, team_);
  }

 private:
  Memory& memory_;
  cpu::Team team_;
};

class CpuDense final : public DenseOps {
 public:
  CpuDense(Memory& memory, cpu::Team team) : memory_(memory), team_(team) {}
  void gemm(const GemmArgs& args, Stream&) override { cpu::gemm(args, memory_, team_); }
  void sum_rows(const SumRowsArgs& args, Stream&) override { cpu::sum_rows(args, memory_, team_); }
  void bias_activation_dropout(const BiasActivationDropoutArgs& args, Stream&) override {
    cpu::bias_activation_dropout(args, team_);
  }
  void activation_dropout_backward(const ActivationDropoutBackwardArgs& args, Stream&) override {
    cpu::activation_dropout_backward(args, team_);
  }
  void layer_norm(const LayerNormArgs& args, Stream&) override { cpu::layer_norm(args, team_); }
  void layer_norm_backward(const LayerNormBackwardArgs& args, Stream&) override {
    cpu::layer_norm_backward(args, memory_, team_);
  }
  void add(const AddArgs& args, Stream&) override { cpu::add(args, team_); }
  void normalize_rows(const NormalizeRowsArgs& args, Stream&) override {
    cpu::normalize_rows(args, team_);
  }
  double smallest(ConstMatrixView matrix, Stream&) override { return cpu::smallest(matrix, team_); }
  LossSums cross_entropy(const CrossEntropyArgs& args, Stream&) override {
    return cpu::cross_entropy(args, team_);
  }
  LossSums binary_cross_entropy(const BinaryCrossEntropyArgs& args, Stream&) override {
    return cpu::binary_cross_entropy(args, team_);
  }

 private:
  Memory& memory_;
  cpu::Team team_;
};

class CpuOptimizer final : public OptimizerOps {
 public:
  explicit CpuOptimizer(cpu::Team team) : team_(team) {}
  void adam(const AdamArgs& args, Stream&) override { cpu::adam(args, team_); }
  void sgd(const SgdArgs& args, Stream&) override { cpu::sgd(args, team_); }
  double squared_norm(ConstMatrixView matrix, Stream&) override {
    return cpu::squared_norm(matrix, team_);
  }
  void scale(MatrixView matrix, double factor, Stream&) override {
    cpu::scale(matrix, factor, team_);
  }

 private:
  cpu::Team team_;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(cpu::Team team, std::unique_ptr<Memory> memory) : CpuBackend(team, *memory) {
    owned_memory_ = std::move(memory);
  }
  CpuBackend(cpu::Team team, Memory& memory)
      : team_(team),
        memory_(memory),
        sampling_(memory, team),
        sparse_(memory, team),
        dense_(memory, team),
        optimizer_(team) {
    set_threads();
  }
  Memory& memory() override { return memory_; }
  SamplingOps& sampling() override { return sampling_; }
  SparseOps& sparse() override { return sparse_; }
  DenseOps& dense() override { return dense_; }
  OptimizerOps& optimizer() override { return optimizer_; }
  void aggregate_linear(const AggregateLinearArgs& args, Stream&) override {
    cpu::aggregate_linear(args, team_);
  }
  void layer_gradients(const LayerGradientsArgs& args, Stream&) override {
    cpu::layer_gradients(args, memory_, team_);
  }
  Memory& pinned() override { return memory_; }
  void enter_thread() override { set_threads(); }
  std::string describe() const override {
    return "cpu (" + std::to_string(team_.threads) +
           (team_.threads == 1 ? " thread)" : " threads)");
  }

 private:
  // Our loops name their number of threads; oneDNN, called from their bodies, must run on one, or
  // its own way of cutting a product would make sums depend on the number of threads.
  static void set_threads() { omp_set_num_threads(1); }

  cpu::Team team_;
  std::unique_ptr<Memory> owned_memory_;  // empty where the memory is another's
  Memory& memory_;
  CpuSampling sampling_;
  CpuSparse sparse_;
  CpuDense dense_;
  CpuOptimizer optimizer_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  GSPLIT_CHECK(threads >= 1);
  return std::make_unique<CpuBackend>(cpu::Team{threads}, cpu::make_memory());
}

std::unique_ptr<Backend> make_cpu_backend(int threads, Memory& memory) {
  GSPLIT_CHECK(threads >= 1);
  return std::make_unique<CpuBackend>(cpu::Team{threads}, memory);
}

}  // namespace gsplit
