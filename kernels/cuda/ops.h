// The GPU's ops, one file each; contracts as in kernels/sparse.h, dense.h and optimizer.h. All of
// them queue their work on `stream` and return; those with a result wait for it.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "kernels/backend.h"
#include "kernels/cuda/memory.h"

namespace gsplit::cuda {

class Cusparse;

/// Where an op works: memory for what it needs on the way, and its stream.
struct Queue {
  Queue(CudaMemory& device_memory, Stream& queue) : memory(device_memory), stream(queue) {
    memory.make_current();
  }

  CudaMemory& memory;
  Stream& stream;

  cudaStream_t raw() const { return cuda::raw(stream); }
};

void gather_rows(const GatherRowsArgs& args, const Queue& queue);
void gather_cached_rows(const GatherCachedRowsArgs& args, const Queue& queue);
void gather_placed_rows(const GatherPlacedRowsArgs& args, const Queue& queue);
void convert_rows(const ConvertRowsArgs& args, const Queue& queue);
void add_rows(const AddRowsArgs& args, const Queue& queue);
void scale_rows(const ScaleRowsArgs& args, const Queue& queue);
void add(const AddArgs& args, const Queue& queue);
void aggregate(const AggregateArgs& args, const Queue& queue);
void aggregate_backward(const AggregateBackwardArgs& args, const Queue& queue);
void head_dots(const HeadDotsArgs& args, const Queue& queue);
void head_dots_backward(const HeadDotsBackwardArgs& args, const Queue& queue);
void mean_heads(const MeanHeadsArgs& args, const Queue& queue);
void mean_heads_backward(const MeanHeadsBackwardArgs& args, const Queue& queue);
void attention(const AttentionArgs& args, const Queue& queue);
void attention_backward(const AttentionBackwardArgs& args, const Queue& queue);
/// The two aggregations by cuSPARSE's SpMM.
void spmm(const AggregateArgs& args, Cusparse& cusparse, const Queue& queue);
void spmm_backward(const AggregateBackwardArgs& args, Cusparse& cusparse, const Queue& queue);

void gemm(const GemmArgs& args, cublasHandle_t cublas, const Queue& queue);
void sum_rows(const SumRowsArgs& args, const Queue& queue);
void bias_activation_dropout(const BiasActivationDropoutArgs& args, const Queue& queue);
void activation_dropout_backward(const ActivationDropoutBackwardArgs& args, const Queue& queue);
void layer_norm(const LayerNormArgs& args, const Queue& queue);
void layer_norm_backward(const LayerNormBackwardArgs& args, const Queue& queue);
void normalize_rows(const NormalizeRowsArgs& args, const Queue& queue);
double smallest(ConstMatrixView matrix, const Queue& queue);
LossSums cross_entropy(const CrossEntropyArgs& args, const Queue& queue);
LossSums binary_cross_entropy(const BinaryCrossEntropyArgs& args, const Queue& queue);

void adam(const AdamArgs& args, const Queue& queue);
void sgd(const SgdArgs& args, const Queue& queue);
double squared_norm(ConstMatrixView matrix, const Queue& queue);
void scale(MatrixView matrix, double factor, const Queue& queue);

}  // namespace gsplit::cuda
