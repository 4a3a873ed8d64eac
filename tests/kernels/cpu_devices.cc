#include "tests/kernels/devices.h"

namespace gsplit::test {

std::vector<Device> make_devices() {
  std::vector<Device> devices;
  for (int threads : {1, 3}) devices.emplace_back(make_cpu_backend(threads));
  return devices;
}

std::string why_no_devices() { return ""; }

}  // namespace gsplit::test
