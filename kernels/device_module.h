// The door to the GPU: libgsplit_cuda.so, which is opened at run time, so that the executable
// starts and computes on the CPU where the module, its libraries, a driver or a GPU is missing.
// Everything that touches CUDA is in the module; it exports one function, gsplit_device_module.
//
// The module is built from the same tree. It shares the classes of kernels/ with the executable,
// but no symbol: what it needs of them is compiled into it, and its Errors are caught by type since
// the C++ library compares types by name. It stays loaded until the process ends.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace gsplit {

class DeviceCommunicator;  // comm/device_communicator.h, one floor up: shared pointers take it as
                           // it is

struct DeviceInfo {
  std::string name;    ///< "NVIDIA H100 80GB HBM3"
  std::string pci_id;  ///< "0000:3b:00.0"
  int major = 0;       ///< of its compute capability
  int minor = 0;
  std::size_t memory_bytes = 0;
  std::size_t free_bytes = 0;
  std::vector<int> peers;  ///< devices whose memory it can reach directly
};

/// What the module sees. Versions are as CUDA counts them: 13000 is 13.0; 0: there is none.
struct DeviceReport {
  int driver = 0;
  int runtime = 0;
  int cublas = 0;
  int nccl = 0;  ///< 22809 is 2.28.9
  std::vector<DeviceInfo> devices;
  std::string problem;  ///< why there are no devices; empty where there are
};

/// Who sums rows over the edges of a block.
enum class Spmm : std::uint8_t { kOwn, kCusparse };

/// How products of fp32 matrices are computed: in fp32, or by tensor cores from elements that are
/// rounded to TF32, whose mantissa has 10 bits, summed in fp32.
enum class Matmul : std::uint8_t { kF32, kTf32 };

struct DeviceOptions {
  int device = 0;  ///< number among those that this process sees
  Spmm spmm = Spmm::kOwn;
  Matmul matmul = Matmul::kF32;
};

/// One rank of several that exchange GPU to GPU.
struct PeerOptions {
  int rank = 0;
  int size = 1;
  std::vector<std::byte> meeting;  ///< rank 0's make_meeting(), which all must have
  std::chrono::milliseconds deadline{30000};
  /// Asked while waiting for peers, by the thread that waits; may be empty.
  std::function<bool()> job_has_failed;
  /// Called when this rank comes to an exchange, before it is queued: all ranks come to the same
  /// ones, so the counts tell who has stayed behind. May be empty.
  std::function<void()> coming;
};

class DeviceModule {
 public:
  virtual ~DeviceModule() = default;
  virtual DeviceReport report() const = 0;
  /// Must be made by the thread that will use it. Throws SystemError where CUDA refuses.
  virtual std::unique_ptr<Backend> make_backend(const DeviceOptions& options) const = 0;
  /// Where ranks find each other; made by rank 0.
  virtual std::vector<std::byte> make_meeting() const = 0;
  /// Collective: returns when all ranks have met, each with a GPU of its own; throws
  /// CommunicationError after the deadline. `backend` and `stream` are of this module and must
  /// outlive it.
  virtual std::shared_ptr<DeviceCommunicator> make_communicator(const PeerOptions& options,
                                                                Backend& backend,
                                                                Stream& stream) const = 0;
};

/// Returns null where `version` is not the module's own.
using DeviceModuleFunction = const DeviceModule*(const char* version);

struct OpenedModule {
  const DeviceModule* module = nullptr;  ///< null where there is none
  std::string path;                      ///< of the file, where there is a module
  std::string problem;                   ///< why there is none
};

/// Looks for libgsplit_cuda.so beside the executable ($ORIGIN) and where the loader looks; the
/// file that GSPLIT_CUDA_MODULE names wins.
OpenedModule open_device_module();

}  // namespace gsplit
