// Device collectives by NCCL: GPU to GPU, on a stream of their own between two events of the
// worker's, which computes meanwhile. Part of the CUDA module.
//
// The communicator is non-blocking and nobody waits inside CUDA behind it: waiting for the stream
// polls an event, and between two looks the communicator's state, the deadline and the job's
// failure. When one of them says so the communicator is aborted, which ends its kernels, and
// CommunicationError is thrown.
//
// A worker may have several, of all workers and of groups, on one stream. Each exchange waits for
// what its worker's stream has come to, the end of the exchange before included, so that a GPU runs
// the exchanges of all of them one after the other, in the order in which the worker comes to them.
// REQUIRES: any two workers come to the exchanges that they share in one order.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <vector>

#include "comm/device_communicator.h"
#include "kernels/cuda/memory.h"
#include "kernels/device_module.h"

namespace gsplit::cuda {

class NcclCommunicator final : public DeviceCommunicator {
 public:
  /// Meets the peers and exchanges a byte with each, within the deadline. `backend`, `memory` (the
  /// backend's own) and `stream` must outlive it; it watches the stream.
  NcclCommunicator(const PeerOptions& options, Backend& backend, CudaMemory& memory,
                   CudaStream& stream);
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  void start(const Exchange& args, Stream& stream) override;
  void finish(Stream& stream) override;
  void abandon() noexcept override { abort(); }
  void all_reduce_sum(MatrixView data, Stream& stream) override;
  std::uint64_t bytes_sent() const override { return bytes_sent_; }

 private:
  using Clock = std::chrono::steady_clock;

  /// An exchange on the wire's stream. Its time runs from when that has come to it, so that long
  /// work before it is nobody's fault.
  struct Pending {
    std::unique_ptr<CudaEvent> begun;
    std::unique_ptr<CudaEvent> ended;
    Clock::time_point since;
  };

  void meet(const PeerOptions& options);
  void warm_up();
  /// Until NCCL has taken what it was asked for, which may need the peers.
  void settle();
  /// Throws where NCCL or the job has failed, or peers are awaited for longer than the deadline.
  void watch();
  void require_health();
  void require_in_time(Clock::time_point since);
  Pending new_pending();
  /// Takes what has ended off the front of pending_.
  void forget_ended();
  void check(ncclResult_t result, const char* what);
  void abort() noexcept;
  [[noreturn]] void fail(const std::string& what);

  int rank_;
  int size_;
  std::chrono::milliseconds deadline_;
  std::function<bool()> job_has_failed_;
  std::function<void()> coming_;
  Backend& backend_;
  CudaMemory& memory_;
  CudaStream& stream_;
  CudaStream wire_;  // where NCCL's kernels run
  CudaEvent ready_;  // on stream_: what is sent is there, what is received may be written
  ncclComm_t comm_ = nullptr;
  std::deque<Pending> pending_;  // in stream order
  std::vector<Pending> spare_;   // events to use again
  std::uint64_t bytes_sent_ = 0;
  int exceptions_before_ = std::uncaught_exceptions();
};

}  // namespace gsplit::cuda
