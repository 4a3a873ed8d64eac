#include "runtime/nn/neighbor_sum.h"

#include <utility>

namespace gsplit {
namespace {

/// Coefficients as the ops take them. Where sums travel a row of the block is shorter than what was
/// drawn, so its mean is the sum times Block::inverse_lengths.
class BlockCoefficients {
 public:
  BlockCoefficients(const Block& block, const AggregateOptions& given, Context& context)
      : options_(given) {
    if (block.inverse_lengths.size() == 0 || given.reduce != Reduce::kMean) return;
    options_.reduce = Reduce::kSum;
    options_.row_scale = block.inverse_lengths.span();
    if (given.row_scale.empty()) return;
    scales_ = Matrix(context.memory(), DType::kF64, block.num_destinations, 1);
    context.memory().copy(scales_.data(), given.row_scale.data(), given.row_scale.size_bytes(),
                          context.stream);
    context.backend.sparse().scale_rows({scales_.view(), block.inverse_lengths.span()},
                                        context.stream);
    options_.row_scale = {static_cast<const double*>(scales_.view().data), given.row_scale.size()};
  }

  const AggregateOptions& get() const { return options_; }

 private:
  AggregateOptions options_;
  Matrix scales_;
};

AggregateArgs aggregation(const Block& block, const AggregateOptions& coefficients,
                          ConstMatrixView sources, MatrixView sums) {
  return {block.indptr.span(), block.columns.span(), sources, sums,
          coefficients,        block.weights.span()};
}

ConstMatrixView own_rows(const LayerBatch& batch, const ConvState& state) {
  return state.sources.view().slice(0, batch.block().num_destinations);
}

/// (num_sources, cols) whose own rows are the whole gradients: those of received rows went home.
Matrix aggregate_backward(const LayerBatch& batch, const AggregateOptions& coefficients,
                          ConstMatrixView sums_gradient, Context& context) {
  const Block& block = batch.block();
  const BlockCoefficients used(block, coefficients, context);
  Matrix gradient(context.memory(), sums_gradient.dtype, block.num_sources(), sums_gradient.cols);
  aggregate_backward(batch.sampled,
                     {block.indptr.span(), block.inverse.indptr.span(),
                      block.inverse.destinations.span(), sums_gradient, gradient.view(), used.get(),
                      block.weights.span(), block.inverse.edges.span()},
                     context);
  return gradient;
}

}  // namespace

EarlySum::EarlySum(const Block& block, const AggregateArgs& sums, const RowFlight& flight,
                   Context& context)
    : num_owned_(block.num_owned()) {
  if (!flight.under_way() || sums.source.dtype == DType::kBF16 ||
      !context.backend.sparse().sums_in_parts()) {
    return;
  }
  sum_ = Matrix(context.memory(), sums.source.dtype, sums.destination.rows, sums.destination.cols);
  AggregateArgs own = sums;
  own.destination = sum_.view();
  own.options = {.reduce = Reduce::kSum, .skip_loops = sums.options.skip_loops};
  own.only = {0, num_owned_};
  context.backend.sparse().aggregate(own, context.stream);
}

void EarlySum::hand_over(AggregateArgs& sums) const {
  if (sum_.cols() == 0) return;
  sums.only.begin = num_owned_;
  sums.before = sum_.view();
}

void aggregate_backward(const SampledLayer& layer, const AggregateBackwardArgs& args,
                        Context& context) {
  SparseOps& sparse = context.backend.sparse();
  if (context.owners.size() == 1 || !sparse.sums_in_parts()) {
    sparse.aggregate_backward(args, context.stream);
    return return_gradients(layer, args.source_gradient, context);
  }
  const std::size_t own = layer.block.num_own;
  AggregateBackwardArgs part = args;
  part.some_sources = true;
  part.inverse_indptr = args.inverse_indptr.subspan(own);
  part.source_gradient = args.source_gradient.slice(layer.block.num_own, layer.block.num_received);
  part.options.self_scale = {};
  part.options.skip_loops = false;
  sparse.aggregate_backward(part, context.stream);
  const auto flight = start_return(layer, args.source_gradient, context);
  part.inverse_indptr = args.inverse_indptr.first(own + 1);
  part.source_gradient = args.source_gradient.slice(0, layer.block.num_own);
  part.options = args.options;
  sparse.aggregate_backward(part, context.stream);
  flight->end();
}

bool NeighborSum::needs_inverse() const {
  return options_.order == Order::kTransform ||
         (options_.order == Order::kAuto && options_.out < options_.in);
}

MatrixRows NeighborSum::matrix_rows(bool own) const {
  if (needs_inverse()) return MatrixRows::kAll;  // it may multiply first
  return own ? MatrixRows::kDestinations : MatrixRows::kNone;
}

void NeighborSum::forward(const LayerBatch& batch, const AggregateOptions& coefficients,
                          Matrix sources, ConstMatrixView weight, const OwnTerm* own,
                          MatrixView output, ConvState& state, Context& context) const {
  const Block& block = batch.block();
  state.order = batch.partial() ? Order::kAggregate
                                : choose_order(options_.order,
                                               {.in = options_.in,
                                                .out = options_.out,
                                                .backward = batch.training,
                                                .source_gradient = !options_.input_layer},
                                               block, context);
  state.sources = std::move(sources);
  state.saved.clear();
  state.ended = false;
  if (state.order == Order::kTransform) {
    GSPLIT_CHECK(batch.places.empty());
    transform(batch, coefficients, weight, output, state, context);
    if (own == nullptr) return;
    return apply_linear(own_rows(batch, state), own->weight, output, true, context);
  }
  const auto flight = start_pull(batch.sampled, state.sources.view(), context, batch.places);
  Matrix sums(context.memory(), state.sources.dtype(), block.num_destinations,
              state.sources.cols());
  const BlockCoefficients used(block, coefficients, context);
  AggregateLinearArgs args{
      .sums = aggregation(block, used.get(), state.sources.view(), sums.view()),
      .weight = weight,
      .own = {},
      .own_weight = {},
      .end = {.values = output}};
  args.sums.places = batch.places;
  const EarlySum early(block, args.sums, *flight, context);
  early.hand_over(args.sums);
  if (own != nullptr && flight->under_way()) {
    apply_linear(own_rows(batch, state), own->weight, output, false, context);
    args.accumulate = true;
  } else if (own != nullptr) {
    args.own = own_rows(batch, state);
    args.own_weight = own->weight;
  }
  flight->end();
  if (batch.end != nullptr) {
    args.ends = state.ended = true;
    args.end.bias = batch.end->bias;
    args.end.activation = batch.end->activation;
    args.end.dropout = batch.end->dropout;
    args.end.nodes = batch.original_ids.first(static_cast<std::size_t>(output.rows));
  }
  context.backend.aggregate_linear(args, context.stream);
  state.saved.push_back(std::move(sums));
}

void NeighborSum::transform(const LayerBatch& batch, const AggregateOptions& coefficients,
                            ConstMatrixView weight, MatrixView output, const ConvState& state,
                            Context& context) const {
  const Block& block = batch.block();
  const DType rows = state.sources.dtype();
  Matrix values(context.memory(), rows, block.num_sources(), options_.out);
  apply_linear(state.sources.view().slice(0, block.num_own), weight,
               values.view().slice(0, block.num_own), false, context);
  const auto flight = start_pull(batch.sampled, values.view(), context);
  const BlockCoefficients used(block, coefficients, context);
  const auto sum_into = [&](MatrixView destination) {
    AggregateArgs sums = aggregation(block, used.get(), values.view(), destination);
    const EarlySum early(block, sums, *flight, context);
    early.hand_over(sums);
    flight->end();
    context.backend.sparse().aggregate(sums, context.stream);
  };
  if (output.dtype == rows) return sum_into(output);
  Matrix sums(context.memory(), rows, output.rows, output.cols);
  sum_into(sums.view());
  context.backend.sparse().convert_rows({sums.view(), output}, context.stream);
}

void NeighborSum::backward(const LayerBatch& batch, const AggregateOptions& coefficients,
                           const ConvState& state, ConstMatrixView weight, const OwnTerm* own,
                           ConstMatrixView output_gradient, MatrixView weight_gradient,
                           Matrix* source_gradient, Context& context) const {
  const Block& block = batch.block();
  const DType dtype = output_gradient.dtype;
  if (own != nullptr && batch.end == nullptr) {
    linear_weight_gradient(output_gradient, own_rows(batch, state), own->gradient, batch.partial(),
                           context);
  }
  if (state.order == Order::kTransform) {
    const Matrix values = aggregate_backward(batch, coefficients, output_gradient, context);
    const ConstMatrixView own_values = values.view().slice(0, block.num_own);
    linear_weight_gradient(own_values, state.sources.view().slice(0, block.num_own),
                           weight_gradient, batch.partial(), context);
    if (source_gradient == nullptr) return;
    *source_gradient = Matrix(context.memory(), dtype, block.num_own, options_.in);
    linear_input_gradient(own_values, weight, source_gradient->view(), false, context);
    return;
  }
  const ConstMatrixView sums = state.saved.front().view();
  if (batch.end != nullptr) {
    const LayerEnd& end = *batch.end;
    LayerGradientsArgs args{
        .end = {.gradient = end.gradient,
                .output = end.output,
                .activation = end.activation,
                .dropout = end.dropout,
                .nodes = batch.original_ids.first(static_cast<std::size_t>(end.gradient.rows))},
        .bias_gradient = end.bias_gradient,
        .weights = {WeightGradient{sums, weight_gradient}}};
    if (own != nullptr) args.weights[1] = {own_rows(batch, state), own->gradient};
    context.backend.layer_gradients(args, context.stream);
  } else {
    linear_weight_gradient(output_gradient, sums, weight_gradient, batch.partial(), context);
  }
  if (source_gradient == nullptr) return;
  Matrix sums_gradient(context.memory(), dtype, block.num_destinations, options_.in);
  linear_input_gradient(output_gradient, weight, sums_gradient.view(), false, context);
  *source_gradient = aggregate_backward(batch, coefficients, sums_gradient.view(), context);
}

}  // namespace gsplit
