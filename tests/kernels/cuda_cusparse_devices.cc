#include "tests/kernels/cuda_devices.h"

namespace gsplit::test {

std::vector<Device> make_devices() { return make_cuda_devices({.spmm = Spmm::kCusparse}); }

// cuSPARSE would have the weights in bf16 too (docs/gpu.md).
std::vector<DType> row_types() { return {DType::kF32, DType::kF64}; }

}  // namespace gsplit::test
