#include "tests/kernels/cuda_devices.h"

namespace gsplit::test {

std::vector<Device> make_devices() { return make_cuda_devices({}); }

std::vector<DType> row_types() { return {DType::kF32, DType::kF64, DType::kBF16}; }

}  // namespace gsplit::test
