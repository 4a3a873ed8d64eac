// The CPU's ops, one file each; contracts as in kernels/sparse.h, dense.h, sampling.h and
// optimizer.h.
#pragma once

#include <memory>
#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/team.h"

namespace gsplit::cpu {

std::unique_ptr<Memory> make_memory();

SampledNeighbors sample_neighbors(const SampleNeighborsArgs& args, Memory& memory,
                                  const Team& team);
Growth grow(const GrowArgs& args, Memory& memory, const Team& team, Stream& stream);
std::unique_ptr<IdSet> make_id_set(std::uint64_t universe, const Team& team);
std::unique_ptr<PositionTable> make_position_table(std::size_t nodes, const Team& team);
void relabel(const RelabelArgs& args, std::span<RowIndex> columns, const Team& team);
InverseCsr invert(std::span<const RowIndex> indptr, std::span<const RowIndex> columns,
                  std::size_t num_columns, Memory& memory);
CoveredNodes cover(const CoverArgs& args, Memory& memory, const Team& team);

void gather_rows(const GatherRowsArgs& args, const Team& team);
void gather_cached_rows(const GatherCachedRowsArgs& args, const Team& team);
void gather_placed_rows(const GatherPlacedRowsArgs& args, const Team& team);
void convert_rows(const ConvertRowsArgs& args, const Team& team);
void add_rows(const AddRowsArgs& args, const Team& team);
void scale_rows(const ScaleRowsArgs& args, const Team& team);
void aggregate(const AggregateArgs& args, const Team& team);
void check_aggregate(const AggregateArgs& args);
/// Destinations [begin, end), on the calling thread.
void aggregate_rows(const AggregateArgs& args, std::int64_t begin, std::int64_t end);
void aggregate_backward(const AggregateBackwardArgs& args, const Team& team);
void head_dots(const HeadDotsArgs& args, const Team& team);
void head_dots_backward(const HeadDotsBackwardArgs& args, Memory& memory, const Team& team);
void mean_heads(const MeanHeadsArgs& args, const Team& team);
void mean_heads_backward(const MeanHeadsBackwardArgs& args, const Team& team);
void attention(const AttentionArgs& args, const Team& team);
void attention_backward(const AttentionBackwardArgs& args, Memory& memory, const Team& team);

void aggregate_linear(const AggregateLinearArgs& args, const Team& team);
void layer_gradients(const LayerGradientsArgs& args, Memory& memory, const Team& team);

void gemm(const GemmArgs& args, Memory& memory, const Team& team);
void sum_rows(const SumRowsArgs& args, Memory& memory, const Team& team);
void bias_activation_dropout(const BiasActivationDropoutArgs& args, const Team& team);
void activation_dropout_backward(const ActivationDropoutBackwardArgs& args, const Team& team);
void layer_norm(const LayerNormArgs& args, const Team& team);
void layer_norm_backward(const LayerNormBackwardArgs& args, Memory& memory, const Team& team);
void add(const AddArgs& args, const Team& team);
void normalize_rows(const NormalizeRowsArgs& args, const Team& team);
double smallest(ConstMatrixView matrix, const Team& team);
LossSums cross_entropy(const CrossEntropyArgs& args, const Team& team);
LossSums binary_cross_entropy(const BinaryCrossEntropyArgs& args, const Team& team);

void adam(const AdamArgs& args, const Team& team);
void sgd(const SgdArgs& args, const Team& team);
double squared_norm(ConstMatrixView matrix, const Team& team);
void scale(MatrixView matrix, double factor, const Team& team);

}  // namespace gsplit::cpu
