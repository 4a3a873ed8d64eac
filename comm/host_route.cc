#include "comm/host_route.h"

namespace gsplit {

void HostRoute::start(const Exchange& args, Stream& stream) {
  Memory& device = backend_.memory();
  if (device.host_accessible()) {
    stream.synchronize();
    return communicator_.start(args);
  }
  sent_ = Buffer<std::byte>(backend_.pinned(), args.send.size());
  received_ = Buffer<std::byte>(backend_.pinned(), args.receive.size());
  receive_ = args.receive.data();
  device.copy(sent_.data(), args.send.data(), args.send.size(), stream);
  stream.synchronize();
  communicator_.start({sent_.span(), args.send_bytes, received_.span(), args.receive_bytes});
}

// The buffers may go before the stream has come to the copy: nobody gets their memory until then.
void HostRoute::finish(Stream& stream) {
  communicator_.finish();
  Memory& device = backend_.memory();
  if (device.host_accessible()) return;
  device.copy(receive_, received_.data(), received_.size(), stream);
  sent_ = {};
  received_ = {};
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
