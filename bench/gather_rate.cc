// How fast input rows are gathered: random rows of a table much larger than the caches, widened to
// fp32 where they are stored as fp16 or bf16. One JSON object a line, medians of several passes on
// one thread, in its own CPU time, so that other work on the machine counts as little as it can.
//
//   gather_rate [ROWS [WIDTH]]
//
// "plain" lines are the same rows converted element by element, without prefetch.
// `bytes` counts what a row takes in the table and in the result. The first line of each round is a
// copy between two large arrays, for the bandwidth that there is. Every result is compared with
// the plain conversion before a rate is printed.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace gsplit {
namespace {

constexpr std::size_t kGathered = std::size_t{1} << 18;  // rows a pass, as of a large mini-batch
constexpr int kPasses = 15;

struct Sizes {
  std::size_t rows = 4'000'000;
  std::size_t width = 64;
};

double thread_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class F>
double median_seconds(F&& pass) {
  std::vector<double> seconds;
  for (int i = 0; i < kPasses; ++i) {
    const double start = thread_seconds();
    pass();
    seconds.push_back(thread_seconds() - start);
  }
  std::nth_element(seconds.begin(), seconds.begin() + kPasses / 2, seconds.end());
  return seconds[kPasses / 2];
}

void report(const std::string& what, const Sizes& sizes, double seconds, double bytes) {
  std::printf("{\"what\": \"%s\", \"width\": %zu, \"rows_per_s\": %.3g, \"bytes_per_s\": %.3g}\n",
              what.c_str(), sizes.width, kGathered / seconds, bytes / seconds);
}

void store(float value, float& to) { to = value; }
void store(float value, Half& to) { to = to_half(value); }
void store(float value, BFloat16& to) { to = to_bfloat16(value); }

template <class T>
void measure(const Sizes& sizes, Backend& backend, Stream& stream) {
  std::mt19937_64 random(7);
  std::vector<T> table(sizes.rows * sizes.width);
  for (T& value : table) store(static_cast<float>(random() % 4096) / 512 - 4, value);
  std::vector<RowIndex> rows(kGathered);
  for (RowIndex& row : rows) row = static_cast<RowIndex>(random() % sizes.rows);
  const auto width = static_cast<std::int64_t>(sizes.width);
  const ConstMatrixView source{table.data(), dtype_of<T>::value,
                               static_cast<std::int64_t>(sizes.rows), width, width};
  Matrix result(backend.memory(), DType::kF32, kGathered, width);
  const double seconds = median_seconds([&] {
    backend.sparse().gather_rows({source, rows, result.view()}, stream);
    stream.synchronize();
  });
  Matrix expected(backend.memory(), DType::kF32, kGathered, width);
  const double plain = median_seconds([&] {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(kGathered); ++i) {
      const T* const from = source.row<T>(rows[static_cast<std::size_t>(i)]);
      float* const to = expected.view().row<float>(i);
      for (std::int64_t c = 0; c < width; ++c) to[c] = widened(from[c]);
    }
  });
  GSPLIT_CHECK(std::memcmp(result.data(), expected.data(), result.bytes()) == 0);
  const auto bytes = static_cast<double>(kGathered * sizes.width * (sizeof(T) + sizeof(float)));
  report(name_of(dtype_of<T>::value), sizes, seconds, bytes);
  report(std::string(name_of(dtype_of<T>::value)) + " plain", sizes, plain, bytes);
}

/// Copying rows in order, read and written bytes counted.
void measure_copy(const Sizes& sizes) {
  std::vector<float> from(kGathered * sizes.width, 1), to(from.size());
  const double seconds =
      median_seconds([&] { std::memcpy(to.data(), from.data(), from.size() * sizeof(float)); });
  report("memcpy", sizes, seconds, 2.0 * static_cast<double>(from.size() * sizeof(float)));
}

void run(const Sizes& sizes) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->memory().create_stream();
  measure_copy(sizes);
  measure<float>(sizes, *backend, *stream);
  measure<Half>(sizes, *backend, *stream);
  measure<BFloat16>(sizes, *backend, *stream);
}

}  // namespace
}  // namespace gsplit

int main(int argc, char** argv) {
  gsplit::Sizes sizes;
  if (argc > 1) sizes.rows = std::strtoull(argv[1], nullptr, 10);
  if (argc > 2) sizes.width = std::strtoull(argv[2], nullptr, 10);
  gsplit::run(sizes);
}
