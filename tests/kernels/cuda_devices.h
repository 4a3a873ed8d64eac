// GPUs for the conformance suite, for the files that say which variant of them it runs on.
#pragma once

#include <vector>

#include "kernels/device_module.h"
#include "tests/kernels/devices.h"

namespace gsplit::test {

/// The first GPU, and the last one where there are several.
std::vector<Device> make_cuda_devices(DeviceOptions options);

}  // namespace gsplit::test
