// A worker's side of StreamPlan: a thread reads ahead into a queue that the credit given to the
// coordinator bounds. Only .cc files include this.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "gsplit/v1/coordinator.grpc.pb.h"
#include "runtime/control/client.h"
#include "runtime/control/client_state.h"

namespace gsplit {

class PlanReceiver final : public PlanStream {
 public:
  PlanReceiver(std::shared_ptr<v1::Coordinator::Stub> stub, std::shared_ptr<ClientState> state,
               std::uint64_t first_step);
  /// Tells the coordinator that this worker goes on without plans; cancels the stream if that does
  /// not get through at once.
  ~PlanReceiver() override;

  std::optional<StepPlan> next() override;
  double seconds_waited() const override { return waited_.count(); }

 private:
  /// The thread.
  void read_ahead();
  std::optional<std::uint64_t> await_credit(std::uint64_t granted);
  bool receive(std::uint64_t through);
  bool take(const v1::PlanReply& reply);
  void await_closing();
  void conclude(const grpc::Status& status);

  std::shared_ptr<v1::Coordinator::Stub> stub_;
  std::shared_ptr<ClientState> state_;
  const std::uint64_t first_step_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::PlanRequest, v1::PlanReply>> stream_;
  std::chrono::duration<double> waited_{0};

  // Guarded by state_->mutex.
  std::deque<StepPlan> plans_;
  std::uint64_t taken_ = 0;     // plans that next() has given out
  std::uint64_t received_ = 0;  // the step of the last plan read
  bool ended_ = false;          // the coordinator has sent its last plan
  bool closing_ = false;        // the destructor waits
  bool concluded_ = false;      // the stream is over

  std::thread reader_;
};

}  // namespace gsplit
