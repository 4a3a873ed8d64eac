#pragma once

#include <memory>

#include "kernels/device_module.h"

namespace gsplit::cuda {

/// As DeviceModule::make_backend().
std::unique_ptr<Backend> make_backend(const DeviceOptions& options);

}  // namespace gsplit::cuda
