#pragma once

#include <memory>

#include "kernels/backend.h"

namespace gsplit::cuda {

/// As DeviceModule::make_backend().
std::unique_ptr<Backend> make_backend(int device);

}  // namespace gsplit::cuda
