// The first GPU, and the last one where there are several.
#include <set>

#include "kernels/device_module.h"
#include "tests/kernels/devices.h"

namespace gsplit::test {

std::vector<Device> make_devices() {
  const OpenedModule opened = open_device_module();
  const int last = static_cast<int>(opened.module->report().devices.size()) - 1;
  std::vector<Device> devices;
  for (int device : std::set<int>{0, last})
    devices.emplace_back(opened.module->make_backend(device));
  return devices;
}

std::string why_no_devices() {
  const OpenedModule opened = open_device_module();
  if (opened.module == nullptr) return opened.problem;
  const std::string problem = opened.module->report().problem;
  return problem.empty() ? "" : problem + "; run it under tests/gpu_on_cpu/gpu-on-cpu";
}

}  // namespace gsplit::test
