#include "kernels/backend.h"

namespace gsplit {

void Backend::aggregate_linear(const AggregateLinearArgs& args, Stream& stream) {
  const MatrixView output = args.end.values;
  sparse().aggregate(args.sums, stream);
  dense().gemm({.a = args.sums.destination,
                .b = args.weight,
                .c = output,
                .transpose_b = true,
                .accumulate = args.accumulate},
               stream);
  if (args.own.rows > 0) {
    dense().gemm(
        {.a = args.own, .b = args.own_weight, .c = output, .transpose_b = true, .accumulate = true},
        stream);
  }
  if (args.ends) dense().bias_activation_dropout(args.end, stream);
}

void Backend::layer_gradients(const LayerGradientsArgs& args, Stream& stream) {
  const MatrixView gradient = args.end.gradient;
  if (args.end.changes()) dense().activation_dropout_backward(args.end, stream);
  dense().sum_rows({gradient, args.bias_gradient}, stream);
  for (const WeightGradient& weight : args.weights) {
    if (weight.gradient.rows == 0) continue;
    dense().gemm({.a = gradient, .b = weight.input, .c = weight.gradient, .transpose_a = true},
                 stream);
  }
}

}  // namespace gsplit
