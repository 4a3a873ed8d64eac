// The one function that libgsplit_cuda.so exports, and what it answers about GPUs.
#include "kernels/device_module.h"

#include <string_view>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/nccl.h"

namespace gsplit::cuda {
namespace {

std::vector<int> peers_of(int device, int devices) {
  std::vector<int> peers;
  for (int other = 0; other < devices; ++other) {
    int reachable = 0;
    if (other == device) continue;
    if (cudaDeviceCanAccessPeer(&reachable, device, other) == cudaSuccess && reachable != 0) {
      peers.push_back(other);
    }
  }
  return peers;
}

/// Of free memory: making the device current costs its context, which others then lack.
std::size_t free_bytes_of(int device) {
  std::size_t free_bytes = 0, total_bytes = 0;
  check(cudaSetDevice(device), "choosing the GPU");
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for the GPU's memory");
  return free_bytes;
}

DeviceInfo info_of(int device, int devices) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "asking for the GPU's properties");
  char pci_id[32] = "";
  check(cudaDeviceGetPCIBusId(pci_id, sizeof(pci_id), device), "asking for the GPU's bus id");
  return {.name = properties.name,
          .pci_id = pci_id,
          .major = properties.major,
          .minor = properties.minor,
          .memory_bytes = properties.totalGlobalMem,
          .free_bytes = free_bytes_of(device),
          .peers = peers_of(device, devices)};
}

std::string why_none(cudaError_t status, int driver) {
  if (driver == 0) return "there is no NVIDIA driver";
  return status == cudaSuccess ? "there is no GPU" : cudaGetErrorString(status);
}

class Module final : public DeviceModule {
 public:
  DeviceReport report() const override {
    DeviceReport report;
    int devices = 0;
    const cudaError_t status = cudaGetDeviceCount(&devices);
    cudaDriverGetVersion(&report.driver);
    cudaRuntimeGetVersion(&report.runtime);
    report.cublas = CUBLAS_VERSION;
    report.nccl = nccl_version();
    if (status != cudaSuccess || devices == 0) {
      cudaGetLastError();
      report.problem = why_none(status, report.driver);
      return report;
    }
    for (int device = 0; device < devices; ++device) {
      report.devices.push_back(info_of(device, devices));
    }
    return report;
  }

  std::unique_ptr<Backend> make_backend(const DeviceOptions& options) const override {
    return cuda::make_backend(options);
  }
  std::vector<std::byte> make_meeting() const override { return cuda::make_meeting(); }
  std::shared_ptr<DeviceCommunicator> make_communicator(const PeerOptions& options,
                                                        Backend& backend,
                                                        Stream& stream) const override {
    return make_nccl_communicator(options, backend, stream);
  }
};

}  // namespace
}  // namespace gsplit::cuda

extern "C" __attribute__((visibility("default"))) const gsplit::DeviceModule* gsplit_device_module(
    const char* version) {
  static const gsplit::cuda::Module module;
  return std::string_view(version) == GSPLIT_VERSION ? &module : nullptr;
}
