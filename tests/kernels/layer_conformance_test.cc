// The ops of a whole layer against what they are composed of, ops that the other files hold against
// a reference.
#include <functional>

#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

/// Rows below, at and above the sizes of chunks, and columns that are no multiples of a vector.
struct Shape {
  std::size_t rows, in, out;
  bool own, ends;
};
constexpr Shape kShapes[] = {{0, 4, 3, true, true},       {1, 5, 7, true, true},
                             {384, 16, 8, false, true},   {385, 37, 24, true, true},
                             {1300, 100, 40, true, true}, {1300, 12, 9, true, false},
                             {13000, 6, 5, true, true}};

class LayerConformance : public Conformance {
 protected:
  std::vector<OriginalId> nodes(std::size_t count) {
    std::vector<OriginalId> ids;
    for (std::size_t i = 0; i < count; ++i) ids.push_back(OriginalId{random_() % 1000});
    return ids;
  }

  /// Whether the op as the backend has it gives what the composition gives, and the same bits on
  /// all devices. run(composed) returns what it wrote. Sums are of about `terms` terms; those of
  /// rows in bf16 are rounded where the composition keeps them, and the other way round.
  void compare(const std::function<std::vector<Rows>(bool)>& run, double terms) {
    std::vector<Rows> first;
    for_each_device([&] {
      const std::vector<Rows> composed = run(true), fused = run(false);
      ASSERT_EQ(composed.size(), fused.size());
      for (std::size_t m = 0; m < composed.size(); ++m) {
        expect_near(fused[m], composed[m], 2 * std::sqrt(terms), dtype());
      }
      if (first.empty()) first = fused;
      EXPECT_EQ(fused, first);
    });
  }
};

TEST_P(LayerConformance, AggregateLinear) {
  for (const Shape& shape : kShapes) {
    const Csr csr = random_csr(shape.rows, shape.rows + 50, 6, random_);
    const Rows sources = random_rows(shape.rows + 50, shape.in);
    const Rows weight = random_rows(shape.out, shape.in), own = random_rows(shape.out, shape.in);
    const Rows bias = random_rows(1, shape.out, computed());
    const Rows stale = random_rows(shape.rows, shape.out);
    const std::vector<OriginalId> ids = nodes(shape.rows);
    const std::vector<double> scale(shape.rows, 0.5);
    for (const DType of : std::set<DType>{dtype(), computed()}) {
      const auto run = [&](bool composed) {
        const Matrix from = to_matrix(sources, shape.in);
        const Matrix neighbor_weight = to_matrix(weight, shape.in),
                     own_weight = to_matrix(own, shape.in);
        const Matrix of_bias = to_matrix(bias, shape.out, computed());
        Matrix sums = to_matrix(zeros(shape.rows, shape.in), shape.in);
        Matrix output = to_matrix(stale, shape.out, of);
        const auto indptr = to_device(csr.indptr), columns = to_device(csr.columns);
        const auto where = to_device(ids);
        const auto self = to_device(scale);
        AggregateLinearArgs args{
            .sums = {indptr.span(),
                     columns.span(),
                     from.view(),
                     sums.view(),
                     {.reduce = Reduce::kMean, .self_scale = self.span(), .skip_loops = true}},
            .weight = neighbor_weight.view(),
            .end = {.values = output.view(),
                    .bias = of_bias.view(),
                    .activation = Activation::kRelu,
                    .dropout = {0.5, {.seed = 3, .step = 2, .purpose = Purpose::kDropout}},
                    .nodes = where.span()},
            .ends = shape.ends,
            .accumulate = shape.rows % 2 == 1};
        if (shape.own) {
          args.own = from.view().slice(0, static_cast<std::int64_t>(shape.rows));
          args.own_weight = own_weight.view();
        }
        if (composed) {
          backend().Backend::aggregate_linear(args, stream());
        } else {
          backend().aggregate_linear(args, stream());
        }
        return std::vector<Rows>{to_rows(sums.view()), to_rows(output.view())};
      };
      compare(run, static_cast<double>(shape.in));
    }
  }
}

TEST_P(LayerConformance, LayerGradients) {
  for (const Shape& shape : kShapes) {
    const Rows output = random_rows(shape.rows, shape.out),
               gradient = random_rows(shape.rows, shape.out);
    const Rows sums = random_rows(shape.rows, shape.in), own = random_rows(shape.rows, shape.in);
    const Rows stale = random_rows(1, shape.out, computed());
    const std::vector<OriginalId> ids = nodes(shape.rows);
    const auto run = [&](bool composed) {
      const Matrix written = to_matrix(output, shape.out);
      Matrix changed = to_matrix(gradient, shape.out);
      const Matrix first = to_matrix(sums, shape.in), second = to_matrix(own, shape.in);
      Matrix bias = to_matrix(stale, shape.out, computed());
      Matrix of_first = to_matrix(zeros(shape.out, shape.in), shape.in, computed());
      Matrix of_second = to_matrix(zeros(shape.out, shape.in), shape.in, computed());
      const auto where = to_device(ids);
      LayerGradientsArgs args{.end = {.gradient = changed.view()},
                              .bias_gradient = bias.view(),
                              .weights = {WeightGradient{first.view(), of_first.view()}}};
      if (shape.ends) {
        args.end.output = written.view();
        args.end.activation = Activation::kElu;
        args.end.dropout = {0.3, {.seed = 3, .step = 2, .purpose = Purpose::kDropout}};
        args.end.nodes = where.span();
      }
      if (shape.own) args.weights[1] = {second.view(), of_second.view()};
      if (composed) {
        backend().Backend::layer_gradients(args, stream());
      } else {
        backend().layer_gradients(args, stream());
      }
      return std::vector<Rows>{to_rows(changed.view()), to_rows(bias.view()),
                               to_rows(of_first.view()), to_rows(of_second.view())};
    };
    compare(run, static_cast<double>(shape.rows + 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Types, LayerConformance,
                         testing::Values(DType::kF32, DType::kF64, DType::kBF16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace gsplit
