// Aggregation over a block by gsplit's own kernel against cuSPARSE's SpMM, on the first GPU: as
// training calls them, so what each needs beside its product (values of the matrix) counts. Blocks
// have the sizes of the two upper layers of a step on a products-shaped graph (batch 1024, fanout
// 15,10,5) and random neighbours, of which a few are in many lists.
//
//   spmm [DESTINATIONS]      of the layer with fanout 15; others in proportion; 1024
//
// One JSON object a line, the first that of a large copy inside the GPU's memory, the bandwidth to
// hold the others against (bytes read and written); then, of each shape, medians of passes of 20
// calls each, and the bytes that must be moved, counted (docs/performance.md), per second of them;
// ratio: time of cuSPARSE / own time. Before anything is timed the results of both are compared
// with each other and with the CPU's. Under tests/gpu_on_cpu/gpu-on-cpu times would mean nothing:
// it compares and prints counts.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "kernels/device_module.h"
#include "kernels/transfer.h"

namespace gsplit {
namespace {

constexpr int kPasses = 15, kCalls = 20;
constexpr double kTolerance = 2e-5;
constexpr AggregateOptions kMean{.reduce = Reduce::kMean};

struct Shape {
  std::size_t fanout, destinations, sources;
};

/// A block and its inverse in host memory.
struct HostBlock {
  std::vector<RowIndex> indptr{0}, columns;
  InverseCsr inverse;
};

HostBlock random_block(const Shape& shape, Backend& host, Stream& stream) {
  std::mt19937_64 random(shape.fanout);
  std::uniform_real_distribution<double> uniform(0, 1);
  HostBlock block;
  for (std::size_t i = 0; i < shape.destinations; ++i) {
    // One list in 50 is shorter than the fanout, as in such a graph.
    const std::size_t length = random() % 50 == 0 ? random() % shape.fanout : shape.fanout;
    for (std::size_t k = 0; k < length; ++k) {
      const double skewed = std::pow(uniform(random), 1.5);
      block.columns.push_back(static_cast<RowIndex>(skewed * static_cast<double>(shape.sources)));
    }
    block.indptr.push_back(static_cast<RowIndex>(block.columns.size()));
  }
  block.inverse = host.sampling().invert(block.indptr, block.columns, shape.sources, stream);
  return block;
}

std::vector<float> random_rows(std::size_t rows, std::size_t width) {
  std::mt19937_64 random(rows + width);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(rows * width);
  for (float& x : values) x = uniform(random);
  return values;
}

/// Of a call that queues work on the stream: the median over passes.
template <class Call>
double median_seconds(Stream& stream, Call call) {
  std::vector<double> seconds;
  for (int pass = 0; pass < kPasses; ++pass) {
    stream.synchronize();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) call();
    stream.synchronize();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    seconds.push_back(took.count() / kCalls);
  }
  std::nth_element(seconds.begin(), seconds.begin() + kPasses / 2, seconds.end());
  return seconds[kPasses / 2];
}

/// A backend, and on it one block with its rows and what comes of them.
class Bench {
 public:
  Bench(std::unique_ptr<Backend> backend, const HostBlock& block, const Shape& shape,
        std::size_t width)
      : backend_(std::move(backend)),
        stream_(backend_->memory().create_stream()),
        indptr_(block.indptr, memory(), *stream_),
        columns_(block.columns, memory(), *stream_),
        inverse_indptr_(block.inverse.indptr.span(), memory(), *stream_),
        inverse_destinations_(block.inverse.destinations.span(), memory(), *stream_),
        inverse_edges_(block.inverse.edges.span(), memory(), *stream_),
        source_(matrix(shape.sources, width)),
        destination_(matrix(shape.destinations, width)),
        gradient_(matrix(shape.destinations, width)),
        source_gradient_(matrix(shape.sources, width)) {}

  void run(bool forward) {
    SparseOps& sparse = backend_->sparse();
    if (forward) {
      sparse.aggregate(
          {indptr_.span(), columns_.span(), source_.view(), destination_.view(), kMean, {}},
          *stream_);
    } else {
      sparse.aggregate_backward({indptr_.span(),
                                 inverse_indptr_.span(),
                                 inverse_destinations_.span(),
                                 gradient_.view(),
                                 source_gradient_.view(),
                                 kMean,
                                 {},
                                 inverse_edges_.span()},
                                *stream_);
    }
  }
  std::vector<float> result(bool forward) {
    const Matrix& matrix = forward ? destination_ : source_gradient_;
    const std::vector<std::byte> bytes = download(matrix.view(), memory(), *stream_);
    const auto* const values = reinterpret_cast<const float*>(bytes.data());
    return {values, values + bytes.size() / sizeof(float)};
  }
  double seconds(bool forward) {
    return median_seconds(*stream_, [&] { run(forward); });
  }
  std::string device() const { return backend_->describe(); }

 private:
  Memory& memory() { return backend_->memory(); }
  Matrix matrix(std::size_t rows, std::size_t width) {
    Matrix made(memory(), DType::kF32, static_cast<std::int64_t>(rows),
                static_cast<std::int64_t>(width));
    const std::vector<float> values = random_rows(rows, width);
    upload(std::as_bytes(std::span(values)), made.view(), memory(), *stream_);
    return made;
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  DeviceArray<RowIndex> indptr_, columns_, inverse_indptr_, inverse_destinations_, inverse_edges_;
  Matrix source_, destination_, gradient_, source_gradient_;
};

/// Throws where an element differs by more than fp32's rounding.
void require_near(const std::vector<float>& one, const std::vector<float>& other,
                  const char* what) {
  GSPLIT_CHECK(one.size() == other.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    if (std::abs(one[i] - other[i]) <= kTolerance * (1 + std::abs(other[i]))) continue;
    throw InternalError(std::string(what) + " differ at element " + std::to_string(i) + ": " +
                        std::to_string(one[i]) + " and " + std::to_string(other[i]));
  }
}

/// A source row and what says which, of each edge; the offsets; the rows written.
double counted_bytes(const Shape& shape, std::size_t edges, std::size_t width, bool forward) {
  const double row = static_cast<double>(width) * sizeof(float);
  return forward ? static_cast<double>(edges) * (row + 4) +
                       static_cast<double>(shape.destinations) * (row + 4)
                 : static_cast<double>(edges) * (row + 8) +
                       static_cast<double>(shape.sources) * (row + 4);
}

void measure(const Shape& shape, std::size_t width, bool timed, const DeviceModule& module) {
  const auto host = make_cpu_backend(1);
  const auto stream = host->memory().create_stream();
  const HostBlock block = random_block(shape, *host, *stream);
  Bench cpu(make_cpu_backend(1), block, shape, width);
  Bench own(module.make_backend({.device = 0, .spmm = Spmm::kOwn}), block, shape, width);
  Bench cusparse(module.make_backend({.device = 0, .spmm = Spmm::kCusparse}), block, shape, width);
  for (const bool forward : {true, false}) {
    for (Bench* bench : {&cpu, &own, &cusparse}) bench->run(forward);
    require_near(own.result(forward), cpu.result(forward), "own kernel and CPU");
    require_near(cusparse.result(forward), own.result(forward), "cuSPARSE and own kernel");
    const double bytes = counted_bytes(shape, block.columns.size(), width, forward);
    std::printf(
        "{\"what\": \"%s\", \"device\": \"%s\", \"fanout\": %zu, \"width\": %zu, "
        "\"destinations\": %zu, \"sources\": %zu, \"edges\": %zu, \"bytes\": %.0f",
        forward ? "forward" : "backward", own.device().c_str(), shape.fanout, width,
        shape.destinations, shape.sources, block.columns.size(), bytes);
    if (timed) {
      const double ours = own.seconds(forward), theirs = cusparse.seconds(forward);
      std::printf(
          ", \"own_us\": %.2f, \"own_gb_s\": %.1f, \"cusparse_us\": %.2f, "
          "\"cusparse_gb_s\": %.1f, \"ratio\": %.3f",
          ours * 1e6, bytes / ours * 1e-9, theirs * 1e6, bytes / theirs * 1e-9, theirs / ours);
    }
    std::printf("}\n");
    std::fflush(stdout);
  }
}

/// A copy of `bytes` from the GPU's memory to the GPU's memory.
void measure_copy(std::size_t bytes, bool timed, const DeviceModule& module) {
  const auto backend = module.make_backend({.device = 0});
  Memory& memory = backend->memory();
  const auto stream = memory.create_stream();
  Buffer<std::byte> from(memory, bytes), to(memory, bytes);
  memory.fill_zero(from.data(), bytes, *stream);
  const double seconds =
      median_seconds(*stream, [&] { memory.copy(to.data(), from.data(), bytes, *stream); });
  std::printf("{\"what\": \"copy\", \"device\": \"%s\", \"bytes\": %zu",
              backend->describe().c_str(), 2 * bytes);
  if (timed)
    std::printf(", \"us\": %.2f, \"gb_s\": %.1f", seconds * 1e6,
                2e-9 * static_cast<double>(bytes) / seconds);
  std::printf("}\n");
}

int run(std::size_t destinations) {
  const OpenedModule opened = open_device_module();
  const DeviceReport report = opened.module ? opened.module->report() : DeviceReport{};
  if (report.devices.empty()) {
    std::fprintf(stderr,
                 "spmm: no GPU (%s); run it under tests/gpu_on_cpu/gpu-on-cpu to compare results\n",
                 (opened.module ? report.problem : opened.problem).c_str());
    return 2;
  }
  const bool timed = report.devices[0].name.find("gpu-on-cpu") == std::string::npos;
  if (!timed) std::fprintf(stderr, "spmm: times of gpu-on-cpu mean nothing; counts only\n");
  measure_copy(timed ? std::size_t{1} << 30 : 1 << 10, timed, *opened.module);
  // Rows of the three lower levels of a step: 1,024 <- 13,997 <- 98,259.
  const std::size_t middle = destinations * 13997 / 1024, lower = destinations * 98259 / 1024;
  for (const Shape& shape : {Shape{10, middle, lower}, Shape{15, destinations, middle}}) {
    for (const std::size_t width : {64, 100, 128, 256, 602}) {
      measure(shape, width, timed, *opened.module);
    }
  }
  return 0;
}

}  // namespace
}  // namespace gsplit

int main(int argc, char** argv) {
  try {
    const long destinations = argc > 1 ? std::atol(argv[1]) : 1024;
    if (destinations < 1) {
      std::fprintf(stderr, "spmm: DESTINATIONS must be at least 1\n");
      return 2;
    }
    return gsplit::run(static_cast<std::size_t>(destinations));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "spmm: %s\n", error.what());
    return 1;
  }
}
