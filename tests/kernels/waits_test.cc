// How often the host waits for the device while a layer is sampled. This executable exports the
// function that waits, so the module finds it first; it calls the library's own.
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "kernels/transfer.h"
#include "tests/kernels/devices.h"

namespace {
int waits = 0;
}

extern "C" cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++waits;
  void* const library = ::dlopen("libcudart.so.13", RTLD_NOW | RTLD_NOLOAD);
  return reinterpret_cast<cudaError_t (*)(cudaStream_t)>(::dlsym(library, "cudaStreamSynchronize"))(
      stream);
}

namespace gsplit::test {
namespace {

/// A ring of 400 nodes, each with its next 20 as in-neighbours.
struct Ring {
  static constexpr std::uint32_t kNodes = 400, kDegree = 20;
  std::vector<std::int64_t> indptr{0};
  std::vector<std::uint32_t> indices;
  std::vector<OriginalId> names;
  std::vector<LocalId> nodes;

  Ring() {
    for (std::uint32_t i = 0; i < kNodes; ++i) {
      for (std::uint32_t d = 1; d <= kDegree; ++d) indices.push_back((i + d) % kNodes);
      indptr.push_back(static_cast<std::int64_t>(indices.size()));
      names.push_back(OriginalId{i});
      if (i % 4 == 0) nodes.push_back(LocalId{i});
    }
  }
};

/// Waits of one layer whose own nodes are [0, own).
int waits_of(Sampler sampler, std::int32_t fanout, std::uint64_t own, Device& device) {
  const Ring ring;
  Memory& memory = device.backend().memory();
  Stream& stream = device.stream();
  SamplingOps& sampling = device.backend().sampling();
  const DeviceArray<std::int64_t> indptr(ring.indptr, memory, stream);
  const DeviceArray<std::uint32_t> indices(ring.indices, memory, stream);
  const DeviceArray<OriginalId> names(ring.names, memory, stream);
  const std::span<const LocalId> own_nodes(ring.nodes.data(), own / 4);
  const DeviceArray<LocalId> nodes(own_nodes, memory, stream);
  const auto needed = sampling.make_id_set(Ring::kNodes), joining = sampling.make_id_set(own);
  const auto positions = sampling.make_position_table(own);
  std::vector<GlobalRange> owners{{0, own}};
  if (own < Ring::kNodes) owners.push_back({own, Ring::kNodes});
  const GrowArgs args{.draws = {.topology = {.indptr = indptr.span(),
                                             .indices32 = indices.span(),
                                             .indices64 = {},
                                             .original_ids = names.span()},
                                .destinations = nodes.span(),
                                .fanout = fanout,
                                .key = {.seed = 3},
                                .sampler = {.sampler = sampler, .names = names.span()}},
                      .needed = *needed,
                      .joining = *joining,
                      .positions = *positions,
                      .owners = owners,
                      .self = 0};
  stream.synchronize();
  waits = 0;
  const Growth growth = sampling.grow(args, stream);
  EXPECT_GT(growth.drawn.neighbors.size(), 0u);
  EXPECT_EQ(growth.joined.has_value(), owners.size() == 1);
  return waits;
}

TEST(Waits, OneForEachLayerWhoseEdgesHaveABound) {
  const std::string reason = why_no_devices();
  if (!reason.empty()) GTEST_SKIP() << reason;
  Device device = std::move(make_devices().front());
  for (const std::uint64_t own : {Ring::kNodes, Ring::kNodes / 2}) {
    EXPECT_EQ(waits_of(Sampler::kUniform, 5, own, device), 1);
    EXPECT_EQ(waits_of(Sampler::kUniform, kFullFanout, own, device), 2);
    EXPECT_EQ(waits_of(Sampler::kLabor, 5, own, device), 2);
  }
}

}  // namespace
}  // namespace gsplit::test
