#include "runtime/control/client_state.h"

#include <fmt/format.h>

#include "kernels/base/error.h"

namespace gsplit {

void ClientState::set_failure(const WorkerFailure& failure) {
  {
    const std::lock_guard lock(mutex);
    if (failure_ || finished_) return;
    failure_ = failure;
    changed.notify_all();
  }
  if (options_.on_failure) options_.on_failure(failure);
}

void ClientState::set_finished() {
  const std::lock_guard lock(mutex);
  finished_ = true;
}

void ClientState::set_coordinator_place(const Place& place) {
  const std::lock_guard lock(mutex);
  coordinator_place_ = place;
}

void ClientState::set_stop_requested(const std::string& reason) {
  const std::lock_guard lock(mutex);
  stop_requested_ = true;
  if (stop_reason_.empty()) stop_reason_ = reason;
}

std::optional<WorkerFailure> ClientState::failure() const {
  const std::lock_guard lock(mutex);
  return failure_;
}

bool ClientState::stop_requested() const {
  const std::lock_guard lock(mutex);
  return stop_requested_;
}

std::string ClientState::stop_reason() const {
  const std::lock_guard lock(mutex);
  return stop_reason_;
}

WorkerFailure ClientState::own_failure(const std::string& message, int exit_code) const {
  return {.rank = options_.rank,
          .host = options_.host,
          .phase = progress_.phase.load(),
          .step = progress_.step.load(),
          .message = message,
          .exit_code = exit_code};
}

WorkerFailure ClientState::coordinator_loss(const std::string& how) const {
  const std::lock_guard lock(mutex);
  return {.rank = options_.apart ? WorkerFailure::kNobody : 0,
          .host = coordinator_place_.host,
          .phase = coordinator_place_.phase,
          .step = coordinator_place_.step,
          .message = fmt::format("lost: the coordinator at {} {}; run it again with --resume",
                                 options_.contact.first_address(), how),
          .exit_code = static_cast<int>(ExitCode::kSystem)};
}

void ClientState::check() const {
  const std::lock_guard lock(mutex);
  check_locked();
}

void ClientState::check_locked() const {
  if (!failure_) return;
  if (failure_->exit_code == static_cast<int>(ExitCode::kUsage)) {
    throw UsageError(failure_->describe());
  }
  throw SystemError(failure_->describe());
}

}  // namespace gsplit
