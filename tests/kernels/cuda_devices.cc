#include "tests/kernels/cuda_devices.h"

#include <set>

#include "tests/kernels/devices.h"

namespace gsplit::test {

std::vector<Device> make_cuda_devices(DeviceOptions options) {
  const OpenedModule opened = open_device_module();
  const int last = static_cast<int>(opened.module->report().devices.size()) - 1;
  std::vector<Device> devices;
  for (int device : std::set<int>{0, last}) {
    options.device = device;
    devices.emplace_back(opened.module->make_backend(options));
  }
  return devices;
}

std::string why_no_devices() {
  const OpenedModule opened = open_device_module();
  if (opened.module == nullptr) return opened.problem;
  const std::string problem = opened.module->report().problem;
  return problem.empty() ? "" : problem + "; run it under tests/gpu_on_cpu/gpu-on-cpu";
}

}  // namespace gsplit::test
