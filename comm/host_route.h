// Device data over a Communicator of the host: by way of page-locked host memory where a device has
// memory of its own, as it is where the device is the host. Works for every device and transport,
// with results equal bit by bit to those of the host.
#pragma once

#include "comm/device_communicator.h"
#include "kernels/backend.h"

namespace gsplit {

class HostRoute final : public DeviceCommunicator {
 public:
  /// Both must outlive it.
  HostRoute(Communicator& communicator, Backend& backend)
      : communicator_(communicator), backend_(backend) {}

  void start(const Exchange& args, Stream& stream) override;
  void finish(Stream& stream) override;
  void abandon() noexcept override { communicator_.abandon(); }
  void all_reduce_sum(MatrixView data, Stream& stream) override;
  std::uint64_t bytes_sent() const override { return communicator_.bytes_sent(); }

 private:
  Communicator& communicator_;
  Backend& backend_;
  // Of the exchange that is under way, where the device has memory of its own.
  Buffer<std::byte> sent_;
  Buffer<std::byte> received_;
  std::byte* receive_ = nullptr;  ///< on the device
};

}  // namespace gsplit
