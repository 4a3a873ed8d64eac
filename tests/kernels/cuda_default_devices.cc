#include "tests/kernels/cuda_devices.h"

namespace gsplit::test {

std::vector<Device> make_devices() { return make_cuda_devices({}); }

}  // namespace gsplit::test
