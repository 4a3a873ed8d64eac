// What the module's factory needs of comm/nccl_communicator.cc.
#pragma once

#include <memory>
#include <vector>

#include "kernels/device_module.h"

namespace gsplit::cuda {

/// As DeviceModule::make_communicator() and make_meeting().
std::shared_ptr<DeviceCommunicator> make_nccl_communicator(const PeerOptions& options,
                                                           Backend& backend, Stream& stream);
std::vector<std::byte> make_meeting();
/// 22809 is 2.28.9.
int nccl_version();

}  // namespace gsplit::cuda
