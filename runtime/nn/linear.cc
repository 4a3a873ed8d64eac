#include "runtime/nn/conv.h"

namespace gsplit {

void Conv::complete(const LayerBatch&, Matrix total, MatrixView output, ConvState&,
                    Context& context) {
  if (total.dtype() == output.dtype) {
    context.memory().copy(output.data, total.data(), total.bytes(), context.stream);
  } else {
    context.backend.sparse().convert_rows({total.view(), output}, context.stream);
  }
}

ConstMatrixView Conv::complete_backward(const LayerBatch&, const ConvState&,
                                        ConstMatrixView output_gradient, Matrix&, Context&) {
  return output_gradient;
}

Operand::Operand(ConstMatrixView values, DType rows, Context& context) : view_(values) {
  if (values.dtype == rows) return;
  copy_ = Matrix(context.memory(), rows, values.rows, values.cols);
  context.backend.sparse().convert_rows({values, copy_.view()}, context.stream);
  view_ = copy_.view();
}

void apply_linear(ConstMatrixView input, ConstMatrixView weight, MatrixView output, bool accumulate,
                  Context& context) {
  context.backend.dense().gemm(
      {.a = input, .b = weight, .c = output, .transpose_b = true, .accumulate = accumulate},
      context.stream);
}

void linear_weight_gradient(ConstMatrixView output_gradient, ConstMatrixView input,
                            MatrixView gradient, bool accumulate, Context& context) {
  context.backend.dense().gemm({.a = output_gradient,
                                .b = input,
                                .c = gradient,
                                .transpose_a = true,
                                .accumulate = accumulate},
                               context.stream);
}

void linear_input_gradient(ConstMatrixView output_gradient, ConstMatrixView weight,
                           MatrixView gradient, bool accumulate, Context& context) {
  context.backend.dense().gemm(
      {.a = output_gradient, .b = weight, .c = gradient, .accumulate = accumulate}, context.stream);
}

}  // namespace gsplit
