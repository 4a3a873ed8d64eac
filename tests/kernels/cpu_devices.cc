#include "tests/kernels/devices.h"

namespace gsplit::test {

std::vector<Device> make_devices() {
  std::vector<Device> devices;
  for (int threads : {1, 3}) devices.emplace_back(make_cpu_backend(threads));
  return devices;
}

std::vector<DType> row_types() { return {DType::kF32, DType::kF64, DType::kBF16}; }

std::string why_no_devices() { return ""; }

}  // namespace gsplit::test
