// Products in fp32 and by TF32: how far each is from the product in double precision tells which it
// was.
#include "tests/kernels/conformance.h"
#include "tests/kernels/cuda_devices.h"

namespace gsplit {
namespace {

using namespace test;

class MatmulOnGpu : public testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = why_no_devices();
    if (!reason.empty()) GTEST_SKIP() << reason;
  }

  static constexpr std::int64_t kRows = 90, kInner = 128, kCols = 70;

  /// Relative error of a product, in the Frobenius norm. Operands are transposed as asked.
  double error_of(Matmul matmul, bool transpose_a, bool transpose_b) {
    Device device(std::move(make_cuda_devices({.matmul = matmul}).front()));
    Memory& memory = device.backend().memory();
    std::vector<float> a(kRows * kInner), b(kInner * kCols), c(kRows * kCols);
    for (float& x : a) x = uniform_(random_);
    for (float& x : b) x = uniform_(random_);
    const auto matrix = [&](const std::vector<float>& values, std::int64_t rows,
                            std::int64_t cols) {
      Matrix on_device(memory, DType::kF32, rows, cols);
      upload(std::as_bytes(std::span(values)), on_device.view(), memory, device.stream());
      return on_device;
    };
    const Matrix left = transpose_a ? matrix(a, kInner, kRows) : matrix(a, kRows, kInner);
    const Matrix right = transpose_b ? matrix(b, kCols, kInner) : matrix(b, kInner, kCols);
    Matrix product = matrix(c, kRows, kCols);
    device.backend().dense().gemm({.a = left.view(),
                                   .b = right.view(),
                                   .c = product.view(),
                                   .transpose_a = transpose_a,
                                   .transpose_b = transpose_b},
                                  device.stream());
    const std::vector<std::byte> bytes = download(product.view(), memory, device.stream());
    const auto* const result = reinterpret_cast<const float*>(bytes.data());
    double difference = 0, norm = 0;
    for (std::int64_t i = 0; i < kRows; ++i) {
      for (std::int64_t j = 0; j < kCols; ++j) {
        double exact = 0;
        for (std::int64_t k = 0; k < kInner; ++k) {
          exact +=
              double{a[static_cast<std::size_t>(transpose_a ? k * kRows + i : i * kInner + k)]} *
              b[static_cast<std::size_t>(transpose_b ? j * kInner + k : k * kCols + j)];
        }
        difference += (result[i * kCols + j] - exact) * (result[i * kCols + j] - exact);
        norm += exact * exact;
      }
    }
    return std::sqrt(difference / norm);
  }

 private:
  std::mt19937_64 random_{5};
  std::uniform_real_distribution<float> uniform_{-1, 1};
};

TEST_F(MatmulOnGpu, Fp32IsExactUpToFp32sRounding) {
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) EXPECT_LT(error_of(Matmul::kF32, a, b), 1e-6);
  }
}

TEST_F(MatmulOnGpu, Tf32RoundsItsOperandsTo10Bits) {
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) {
      const double error = error_of(Matmul::kTf32, a, b);
      EXPECT_GT(error, 1e-5);
      EXPECT_LT(error, 1e-2);
    }
  }
}

}  // namespace
}  // namespace gsplit
