#include "runtime/bench/machine_rates.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/backend.h"
#include "kernels/base/philox.h"

namespace gsplit {
namespace {

constexpr std::size_t kTableBytes = std::size_t{256} << 20;
constexpr std::int64_t kGathered = 1 << 18;

template <class F>
double fastest(int passes, F&& pass) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= passes; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) best = std::min(best, seconds);  // the first one touches the pages
  }
  return best;
}

Matrix filled(Backend& backend, std::int64_t rows, std::int64_t cols) {
  Matrix matrix(backend.memory(), DType::kF32, rows, cols);
  std::fill_n(static_cast<float*>(matrix.data()), rows * cols, 0.5f);
  return matrix;
}

double gemm_flops(Backend& backend, Stream& stream, int passes) {
  constexpr std::int64_t kRows = 16384, kWidth = 256;
  const Matrix a = filled(backend, kRows, kWidth), b = filled(backend, kWidth, kWidth);
  Matrix c = filled(backend, kRows, kWidth);
  const double seconds = fastest(passes, [&] {
    backend.dense().gemm({.a = a.view(), .b = b.view(), .c = c.view()}, stream);
    stream.synchronize();
  });
  return 2.0 * kRows * kWidth * kWidth / seconds;
}

double gather_bytes(Backend& backend, Stream& stream, const MeasureOptions& options) {
  const auto row_bytes = static_cast<std::size_t>(options.row_width) * sizeof(float);
  const auto rows =
      static_cast<std::int64_t>(std::max<std::size_t>(2 * kTableBytes / row_bytes, 1));
  const Matrix table = filled(backend, rows, options.row_width);
  Matrix gathered = filled(backend, kGathered, options.row_width);
  std::vector<RowIndex> chosen;
  for (std::uint64_t i = 0; i < kGathered; ++i) {
    chosen.push_back(static_cast<RowIndex>(draw({.purpose = Purpose::kGenerator}, i, 0).word[0] %
                                           static_cast<std::uint64_t>(rows)));
  }
  const double seconds = fastest(options.passes, [&] {
    backend.sparse().gather_rows({table.view(), chosen, gathered.view()}, stream);
    stream.synchronize();
  });
  return static_cast<double>(kGathered) * static_cast<double>(row_bytes) / seconds;
}

double stream_bytes(const MeasureOptions& options) {
  std::vector<char> from(kTableBytes, 1), to(kTableBytes, 2);
  constexpr std::ptrdiff_t kPiece = 1 << 20;
  const double seconds = fastest(options.passes, [&] {
#pragma omp parallel for num_threads(options.threads) schedule(static)
    for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(kTableBytes) / kPiece; ++i) {
      std::memcpy(to.data() + i * kPiece, from.data() + i * kPiece, kPiece);
    }
  });
  return 2.0 * kTableBytes / seconds;
}

double random_reads(const MeasureOptions& options) {
  constexpr std::uint64_t kWords = kTableBytes / sizeof(std::uint64_t), kReads = 1 << 22;
  const std::vector<std::uint64_t> table(kWords, 1);
  std::uint64_t sum = 0;
  const double seconds = fastest(options.passes, [&] {
  // A multiplicative sequence: no read waits for another, and no prefetcher follows.
#pragma omp parallel for num_threads(options.threads) schedule(static) reduction(+ : sum)
    for (std::uint64_t i = 0; i < kReads; ++i)
      sum += table[(i * 0x9E3779B97F4A7C15u >> 20) % kWords];
  });
  GSPLIT_CHECK(sum == kReads * static_cast<std::uint64_t>(options.passes + 1));
  return static_cast<double>(kReads) / seconds;
}

}  // namespace

MachineRates measure_machine(const MeasureOptions& options) {
  const std::unique_ptr<Backend> backend = make_cpu_backend(options.threads);
  const std::unique_ptr<Stream> stream = backend->memory().create_stream();
  return {.gemm_flops = gemm_flops(*backend, *stream, options.passes),
          .gather_bytes = gather_bytes(*backend, *stream, options),
          .stream_bytes = stream_bytes(options),
          .random_reads = random_reads(options)};
}

}  // namespace gsplit
