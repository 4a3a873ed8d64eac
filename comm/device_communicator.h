// Collectives on device memory: rows and gradients. What is control (counts, ids, reports) stays
// with the Communicator, in host memory.
//
// Calls read what the stream has produced so far, and whatever is queued on the stream afterwards
// sees their results. Errors and the order of calls are as for Communicator; an error may also come
// later, from Stream::synchronize() or an op that waits.
#pragma once

#include "comm/communicator.h"
#include "kernels/memory.h"

namespace gsplit {

class DeviceCommunicator {
 public:
  virtual ~DeviceCommunicator() = default;
  /// As Communicator::exchange(); `send` and `receive` are device memory.
  void exchange(const Exchange& args, Stream& stream) {
    start(args, stream);
    finish(stream);
  }
  /// exchange() in two halves: what is queued on the stream between them runs while data are on
  /// their way, and neither writes `send` nor uses `receive`. As Communicator::start(), finish()
  /// and abandon().
  virtual void start(const Exchange& args, Stream& stream) = 0;
  virtual void finish(Stream& stream) = 0;
  virtual void abandon() noexcept = 0;
  /// As Communicator::all_reduce_sum(), on a device matrix whose rows lie without gaps: the sum
  /// runs in rank order, so it is the same to the bit whatever the transport.
  virtual void all_reduce_sum(MatrixView data, Stream& stream) = 0;
  /// Bytes that this rank has sent to others so far.
  virtual std::uint64_t bytes_sent() const = 0;
};

}  // namespace gsplit
