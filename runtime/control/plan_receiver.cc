#include "runtime/control/plan_receiver.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/control/wire.h"

namespace gsplit {
namespace {

using Clock = std::chrono::steady_clock;

// For a coordinator that lives but does not get to run; a dead one breaks the stream at once.
constexpr std::chrono::seconds kPatienceAtClosing{2};

}  // namespace

PlanReceiver::PlanReceiver(std::shared_ptr<v1::Coordinator::Stub> stub,
                           std::shared_ptr<ClientState> state, std::uint64_t first_step)
    : stub_(std::move(stub)),
      state_(std::move(state)),
      first_step_(first_step),
      stream_(stub_->StreamPlan(&context_)),
      received_(first_step - 1) {
  reader_ = std::thread([this] { read_ahead(); });
}

PlanReceiver::~PlanReceiver() {
  {
    std::unique_lock lock(state_->mutex);
    closing_ = true;
    state_->changed.notify_all();
    state_->changed.wait_for(lock, kPatienceAtClosing, [this] { return concluded_; });
  }
  context_.TryCancel();
  reader_.join();
}

std::optional<StepPlan> PlanReceiver::next() {
  const Clock::time_point begin = Clock::now();
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_until(lock, begin + state_->options().deadline, [this] {
    return state_->failed_locked() || !plans_.empty() || ended_ || concluded_;
  });
  waited_ += Clock::now() - begin;
  state_->check_locked();
  if (!plans_.empty()) {
    std::optional<StepPlan> plan = std::move(plans_.front());
    plans_.pop_front();
    ++taken_;
    state_->changed.notify_all();
    return plan;
  }
  if (ended_) return std::nullopt;
  const std::chrono::duration<double> deadline = state_->options().deadline;
  throw SystemError(
      fmt::format("rank {} had no plan from the coordinator at {} for {} s", state_->options().rank,
                  state_->options().contact.first_address(), deadline.count()),
      "run it again with --resume");
}

void PlanReceiver::read_ahead() {
  v1::PlanRequest request;
  request.set_rank(static_cast<std::uint32_t>(state_->options().rank));
  request.set_first_step(first_step_);
  bool alive = true;
  std::uint64_t granted = first_step_ - 1;
  while (const auto credit = await_credit(granted)) {
    granted = *credit;
    request.set_through_step(granted);
    alive = stream_->Write(request) && receive(granted);
    if (!alive) break;
  }
  if (alive) {
    await_closing();
    request.set_done(true);
    stream_->WriteLast(request, grpc::WriteOptions());
    v1::PlanReply unread;
    while (stream_->Read(&unread)) continue;
  }
  conclude(stream_->Finish());
}

/// Waits until there is room for a plan more than has been granted; nothing when no more is wanted.
std::optional<std::uint64_t> PlanReceiver::await_credit(std::uint64_t granted) {
  std::unique_lock lock(state_->mutex);
  const auto room = [this] {
    const int prefetch = std::max(state_->options().prefetch, 1);
    return first_step_ - 1 + taken_ + static_cast<std::uint64_t>(prefetch);
  };
  state_->changed.wait(lock, [&] { return closing_ || ended_ || room() > granted; });
  if (closing_ || ended_) return std::nullopt;
  return room();
}

/// Reads until the plan of step `through` or the end is there; false when the stream breaks.
bool PlanReceiver::receive(std::uint64_t through) {
  v1::PlanReply reply;
  while (received_ < through) {
    if (!stream_->Read(&reply)) return false;
    if (!take(reply)) return true;
  }
  return true;
}

/// False at the end.
bool PlanReceiver::take(const v1::PlanReply& reply) {
  if (reply.has_end() && reply.end().stopped()) {
    state_->set_stop_requested(reply.end().stop_reason());
  }
  const std::lock_guard lock(state_->mutex);
  state_->changed.notify_all();
  if (reply.has_end()) {
    ended_ = true;
    return false;
  }
  plans_.push_back(from_wire(reply.plan()));
  received_ = reply.plan().step();
  return true;
}

void PlanReceiver::await_closing() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return closing_; });
}

void PlanReceiver::conclude(const grpc::Status& status) {
  const bool expected = [this] {
    const std::lock_guard lock(state_->mutex);
    return closing_;
  }();
  if (!expected) {
    const auto job_failure = failure_of(status);
    state_->set_failure(job_failure ? *job_failure
                                    : state_->coordinator_loss(
                                          fmt::format("is gone ({})", status.error_message())));
  }
  const std::lock_guard lock(state_->mutex);
  concluded_ = true;
  state_->changed.notify_all();
}

}  // namespace gsplit
