#include "comm/host_route.h"

namespace gsplit {

void HostRoute::exchange(const Exchange& args, Stream& stream) {
  Memory& device = backend_.memory();
  if (device.host_accessible()) {
    stream.synchronize();
    return communicator_.exchange(args);
  }
  Buffer<std::byte> send(backend_.pinned(), args.send.size());
  Buffer<std::byte> receive(backend_.pinned(), args.receive.size());
  device.copy(send.data(), args.send.data(), args.send.size(), stream);
  stream.synchronize();
  communicator_.exchange({send.span(), args.send_bytes, receive.span(), args.receive_bytes});
  device.copy(args.receive.data(), receive.data(), args.receive.size(), stream);
}

void HostRoute::all_reduce_sum(MatrixView data, Stream& stream) {
  Memory& device = backend_.memory();
  if (device.host_accessible()) {
    stream.synchronize();
    return communicator_.all_reduce_sum(data);
  }
  if (communicator_.size() == 1) return;
  GSPLIT_CHECK(data.rows <= 1 || data.stride == data.cols);
  Matrix host(backend_.pinned(), data.dtype, data.rows, data.cols);
  device.copy(host.data(), data.data, host.bytes(), stream);
  stream.synchronize();
  communicator_.all_reduce_sum(host.view());
  device.copy(data.data, host.data(), host.bytes(), stream);
}

}  // namespace gsplit
