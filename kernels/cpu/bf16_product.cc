#include "kernels/cpu/bf16_product.h"

#include <array>
#include <dnnl.hpp>
#include <optional>
#include <vector>

#include "kernels/cpu/widen.h"

namespace gsplit::cpu {
namespace {

using dnnl::memory;

/// Row-major, or its transpose, of elements of `type`.
memory::desc describe(std::int64_t rows, std::int64_t cols, std::int64_t stride, bool transposed,
                      memory::data_type type) {
  return {{rows, cols}, type, transposed ? memory::dims{1, stride} : memory::dims{stride, 1}};
}

/// oneDNN's matrix products of one thread: a primitive for each way to transpose, for matrices of
/// any shape, so that nothing is generated anew for the shapes of each step. A primitive's scratch
/// memory belongs to the thread that made it.
class Primitives {
 public:
  Primitives() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {}

  void multiply(const Bf16Product& p) {
    std::optional<dnnl::matmul>& primitive =
        primitives_[(p.transpose_a ? 2u : 0u) + (p.transpose_b ? 1u : 0u)];
    if (!primitive) primitive = make(p.transpose_a, p.transpose_b);
    const auto at = [&](const memory::desc& shape, const void* data) {
      return memory(shape, engine_, const_cast<void*>(data));
    };
    using enum memory::data_type;
    primitive->execute(stream_,
                       {{DNNL_ARG_SRC, at(describe(p.m, p.k, p.lda, p.transpose_a, bf16), p.a)},
                        {DNNL_ARG_WEIGHTS, at(describe(p.k, p.n, p.ldb, p.transpose_b, bf16), p.b)},
                        {DNNL_ARG_DST, at(describe(p.m, p.n, p.ldc, false, f32), p.c)}});
  }

  /// Throws dnnl::error where there is none for this processor.
  dnnl::matmul make(bool transpose_a, bool transpose_b) const {
    constexpr std::int64_t kAny = DNNL_RUNTIME_DIM_VAL;
    using enum memory::data_type;
    return dnnl::matmul(
        {{describe(kAny, kAny, kAny, transpose_a, bf16),
          describe(kAny, kAny, kAny, transpose_b, bf16), describe(kAny, kAny, kAny, false, f32)},
         engine_});
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::array<std::optional<dnnl::matmul>, 4> primitives_;
};

bool has_primitives() {
  static const bool has = [] {
    try {
      Primitives().make(false, false);
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return has;
}

std::vector<float> widened_rows(const BFloat16* from, std::int64_t rows, std::int64_t cols,
                                std::int64_t stride) {
  std::vector<float> to(static_cast<std::size_t>(rows * cols));
  for (std::int64_t i = 0; i < rows; ++i) widen(from + i * stride, to.data() + i * cols, cols);
  return to;
}

void multiply_widened(const Bf16Product& p) {
  const std::int64_t a_cols = p.transpose_a ? p.m : p.k, b_cols = p.transpose_b ? p.k : p.n;
  const std::vector<float> a = widened_rows(p.a, p.transpose_a ? p.k : p.m, a_cols, p.lda);
  const std::vector<float> b = widened_rows(p.b, p.transpose_b ? p.n : p.k, b_cols, p.ldb);
  const dnnl_status_t status =
      dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.m, p.n, p.k, 1.0f,
                 a.data(), a_cols, b.data(), b_cols, 0.0f, p.c, p.ldc);
  if (status != dnnl_success) std::terminate();  // as in gemm.cc
}

}  // namespace

void multiply(const Bf16Product& product) {
  if (!has_primitives()) return multiply_widened(product);
  thread_local Primitives primitives;
  primitives.multiply(product);
}

}  // namespace gsplit::cpu
