// The ops of graph attention against plain double-precision references.
#include "tests/kernels/conformance.h"

namespace gsplit {
namespace {

using namespace test;

constexpr std::size_t kSources = 40, kDestinations = 25, kHeads = 3, kWidth = 5;

struct HeadShape {
  std::size_t heads;
  std::size_t width;
  bool shared;  // all heads read the same values
};

class AttentionConformance : public Conformance {
 protected:
  AttentionConformance() : csr(random_csr(kDestinations, kSources, 9, random_)) {
    for (RowIndex i = 0; i < kDestinations; i += 4) {  // some loops, which are left out
      if (csr.indptr[i] < csr.indptr[i + 1]) csr.columns[csr.indptr[i]] = i;
    }
    for (std::size_t i = 0; i < kDestinations; ++i) nodes.push_back(OriginalId{7 * i + 1});
    reshape({kHeads, kWidth, false});
  }

  void reshape(const HeadShape& now) {
    shape = now;
    values = random_rows(kSources, (shape.shared ? 1 : shape.heads) * shape.width);
    source_logits = random_rows(kSources, shape.heads, computed());
    destination_logits = random_rows(kDestinations, shape.heads, computed());
    gradient = random_rows(kDestinations, shape.heads * shape.width);
  }

  /// Sources that destination i attends to: itself last.
  std::vector<std::pair<std::size_t, std::size_t>> attended(std::size_t i) const {
    std::vector<std::pair<std::size_t, std::size_t>> list;  // (position, source)
    for (RowIndex e = csr.indptr[i]; e < csr.indptr[i + 1]; ++e) {
      if (csr.columns[e] != i) list.emplace_back(e - csr.indptr[i], csr.columns[e]);
    }
    list.emplace_back(csr.indptr[i + 1] - csr.indptr[i], i);
    return list;
  }

  double kept(std::size_t i, std::size_t position, std::size_t head) const {
    if (dropout.probability == 0) return 1;
    const std::size_t number = position * shape.heads + head;
    const std::uint32_t bits = kept_columns(dropout.key, dropout.threshold(), nodes[i],
                                            static_cast<std::uint32_t>(number / 8));
    return ((bits >> (number % 8)) & 1u) != 0 ? dropout.scale() : 0;
  }

  /// The op as a function of its three inputs, in double.
  Rows reference(const Rows& z, const Rows& s, const Rows& d) const {
    Rows out = zeros(kDestinations, shape.heads * shape.width);
    for (std::size_t i = 0; i < kDestinations; ++i) {
      for (std::size_t h = 0; h < shape.heads; ++h) {
        double sum = 0;
        const auto weight = [&](std::size_t j) {
          const double raw = s[j][h] + d[i][h];
          return std::exp(raw > 0 ? raw : 0.2 * raw);
        };
        for (const auto& [position, j] : attended(i)) sum += weight(j);
        for (const auto& [position, j] : attended(i)) {
          const std::size_t from = shape.shared ? 0 : h * shape.width;
          for (std::size_t c = 0; c < shape.width; ++c) {
            out[i][h * shape.width + c] += weight(j) / sum * kept(i, position, h) * z[j][from + c];
          }
        }
      }
    }
    return out;
  }

  /// sum of gradient * reference(...): its derivatives are what backward must give.
  double projected(const Rows& z, const Rows& s, const Rows& d) const {
    const Rows out = reference(z, s, d);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      for (std::size_t c = 0; c < out[i].size(); ++c) sum += gradient[i][c] * out[i][c];
    }
    return sum;
  }

  /// Central differences of projected() with respect to `input`, one of the arguments that
  /// `evaluate` reads.
  template <class Evaluate>
  static Rows differences(Rows& input, Evaluate evaluate) {
    Rows result = input;
    for (std::size_t i = 0; i < input.size(); ++i) {
      for (std::size_t c = 0; c < input[i].size(); ++c) {
        const double saved = input[i][c];
        input[i][c] = saved + 1e-6;
        const double above = evaluate();
        input[i][c] = saved - 1e-6;
        result[i][c] = (above - evaluate()) / 2e-6;
        input[i][c] = saved;
      }
    }
    return result;
  }

  /// Inputs as matrices of one backend, and the forward pass.
  struct Device {
    Matrix z, s, d, output, softmax;
    Attention attention;
    DeviceArray<RowIndex> indptr, columns;
    DeviceArray<OriginalId> nodes;
  };
  Device run_forward(Backend& backend, Stream& stream) const {
    Device device{to_matrix(values, values.front().size()),
                  to_matrix(source_logits, shape.heads, computed()),
                  to_matrix(destination_logits, shape.heads, computed()),
                  Matrix(backend.memory(), dtype(), kDestinations, shape.heads * shape.width),
                  Matrix(backend.memory(), computed(), kDestinations, 2 * shape.heads),
                  {}};
    device.indptr = to_device(csr.indptr);
    device.columns = to_device(csr.columns);
    device.nodes = to_device(nodes);
    device.attention = {device.indptr.span(), device.columns.span(), device.z.view(),
                        device.s.view(),      device.d.view(),       dropout,
                        device.nodes.span()};
    backend.sparse().attention({device.attention, device.output.view(), device.softmax.view()},
                               stream);
    return device;
  }

  /// Which of the three gradients to return.
  enum class Gradient { kValues, kSourceLogits, kDestinationLogits };
  Matrix run_backward(Gradient which, Backend& backend, Stream& stream) const {
    const Device device = run_forward(backend, stream);
    const InverseCsr inverse = invert(csr, kSources);
    const Matrix upstream = to_matrix(gradient, shape.heads * shape.width);
    Matrix z(backend.memory(), dtype(), kSources, device.z.cols());
    Matrix s(backend.memory(), computed(), kSources, shape.heads);
    Matrix d(backend.memory(), computed(), kDestinations, shape.heads);
    backend.sparse().attention_backward(
        {device.attention, device.softmax.view(), upstream.view(), inverse.indptr.span(),
         inverse.destinations.span(), inverse.edges.span(), z.view(), s.view(), d.view()},
        stream);
    if (which == Gradient::kValues) return z;
    return which == Gradient::kSourceLogits ? std::move(s) : std::move(d);
  }

  void check_all() {
    check(reference(values, source_logits, destination_logits),
          [&](Backend& backend, Stream& stream) {
            return std::move(run_forward(backend, stream).output);
          });
    const auto evaluate = [&] { return projected(values, source_logits, destination_logits); };
    check_gradient(Gradient::kValues, differences(values, evaluate));
    check_gradient(Gradient::kSourceLogits, differences(source_logits, evaluate));
    check_gradient(Gradient::kDestinationLogits, differences(destination_logits, evaluate));
  }

  /// Differences are good to about 1e-9.
  double tolerance(DType of) const override {
    return of == DType::kF64 ? 2e-8 : Conformance::tolerance(of);
  }

  void check_gradient(Gradient which, const Rows& expected) {
    check(expected,
          [&](Backend& backend, Stream& stream) { return run_backward(which, backend, stream); });
  }

  Csr csr;
  HeadShape shape{};
  Rows values, source_logits, destination_logits, gradient;
  std::vector<OriginalId> nodes;
  Dropout dropout;
};

TEST_P(AttentionConformance, ForwardAndGradients) { check_all(); }

// Widths around a vector, heads around the four that go together, one block per head and shared.
TEST_P(AttentionConformance, ForwardAndGradientsOfAnyShape) {
  for (const HeadShape& now :
       {HeadShape{5, 21, false}, HeadShape{1, 40, false}, HeadShape{3, 5, true},
        HeadShape{4, 36, true}, HeadShape{6, 18, true}}) {
    reshape(now);
    check_all();
  }
}

TEST_P(AttentionConformance, ForwardAndGradientsWithDropout) {
  dropout = {0.4, {.seed = 9, .step = 2, .purpose = Purpose::kAttentionDropout, .layer = 1}};
  check_all();
}

TEST_P(AttentionConformance, HeadDotsAndTheirGradients) {
  const Rows vector = random_rows(kHeads, kWidth);
  const Rows upstream = random_rows(kSources, kHeads),
             start = random_rows(kSources, kHeads * kWidth);
  Rows logits = zeros(kSources, kHeads), values_gradient = start;
  Rows vector_gradient = zeros(kHeads, kWidth);
  for (std::size_t i = 0; i < kSources; ++i) {
    for (std::size_t h = 0; h < kHeads; ++h) {
      for (std::size_t c = 0; c < kWidth; ++c) {
        logits[i][h] += values[i][h * kWidth + c] * vector[h][c];
        values_gradient[i][h * kWidth + c] += upstream[i][h] * vector[h][c];
        vector_gradient[h][c] += upstream[i][h] * values[i][h * kWidth + c];
      }
    }
  }
  check(logits, [&](Backend& backend, Stream& stream) {
    const Matrix z = to_matrix(values, kHeads * kWidth);
    const Matrix v = to_matrix(vector, kWidth, computed());
    Matrix result(backend.memory(), computed(), kSources, kHeads);
    backend.sparse().head_dots({z.view(), v.view(), result.view()}, stream);
    return result;
  });
  for (bool of_vector : {false, true}) {
    check(of_vector ? vector_gradient : values_gradient, [&](Backend& backend, Stream& stream) {
      const Matrix z = to_matrix(values, kHeads * kWidth);
      const Matrix v = to_matrix(vector, kWidth, computed());
      const Matrix g = to_matrix(upstream, kHeads, computed());
      Matrix z_gradient = to_matrix(start, kHeads * kWidth);
      Matrix v_gradient = to_matrix(zeros(kHeads, kWidth), kWidth, computed());
      backend.sparse().head_dots_backward(
          {z.view(), v.view(), g.view(), z_gradient.view(), v_gradient.view()}, stream);
      return of_vector ? std::move(v_gradient) : std::move(z_gradient);
    });
  }
}

TEST_P(AttentionConformance, MeanHeadsAndTheirGradient) {
  Rows mean = zeros(kSources, kWidth), spread = zeros(kDestinations, kHeads * kWidth);
  const Rows upstream = random_rows(kDestinations, kWidth);
  for (std::size_t i = 0; i < kSources; ++i) {
    for (std::size_t c = 0; c < kHeads * kWidth; ++c) mean[i][c % kWidth] += values[i][c] / kHeads;
  }
  for (std::size_t i = 0; i < kDestinations; ++i) {
    for (std::size_t c = 0; c < kHeads * kWidth; ++c)
      spread[i][c] = upstream[i][c % kWidth] / kHeads;
  }
  for (const DType of : std::set<DType>{dtype(), computed()}) {
    check(mean, [&](Backend& backend, Stream& stream) {
      const Matrix z = to_matrix(values, kHeads * kWidth);
      Matrix result(backend.memory(), of, kSources, kWidth);
      backend.sparse().mean_heads({z.view(), result.view()}, stream);
      return result;
    });
  }
  check(spread, [&](Backend& backend, Stream& stream) {
    const Matrix g = to_matrix(upstream, kWidth);
    Matrix result(backend.memory(), dtype(), kDestinations, kHeads * kWidth);
    backend.sparse().mean_heads_backward({g.view(), result.view()}, stream);
    return result;
  });
}

INSTANTIATE_TEST_SUITE_P(Types, AttentionConformance, testing::ValuesIn(row_types()),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace gsplit
