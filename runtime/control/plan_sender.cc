#include "runtime/control/plan_sender.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/control/wire.h"

namespace gsplit {
namespace {

/// Plans that a worker may ask for before it has them.
constexpr std::uint64_t kMaxAhead = 1024;

}  // namespace

PlanCache::Shares PlanCache::get(const Planner& planner, std::uint64_t step) {
  const std::lock_guard lock(mutex_);
  const auto found = plans_.find(step);
  if (found != plans_.end()) return found->second;
  const auto shares = std::make_shared<const std::vector<StepPlan>>(planner.plan(step));
  plans_.emplace(step, shares);
  if (plans_.size() > kCapacity) plans_.erase(plans_.begin());  // the oldest step
  return shares;
}

/// One worker's stream. gRPC calls the On... functions from its threads, one at a time each, reads
/// and writes at once. At any time at most one read and one write are under way.
class PlanSender final : public grpc::ServerBidiReactor<v1::PlanRequest, v1::PlanReply> {
 public:
  PlanSender(PlanSenders& senders, bool refused) : senders_(senders) {
    if (refused) {
      finish({grpc::StatusCode::UNAVAILABLE, "the coordinator is ending"});
    } else {
      StartRead(&request_);
    }
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void advance();
  void close();

 private:
  bool accept(const v1::PlanRequest& request);
  void advance_locked();
  void send_plan();
  void send_end(bool stopped);
  void write();
  void finish(const grpc::Status& status);

  PlanSenders& senders_;
  std::mutex mutex_;
  v1::PlanRequest request_;  // of the read under way
  v1::PlanReply reply_;      // of the write under way
  std::optional<std::uint32_t> rank_;
  std::uint64_t next_step_ = 0;
  std::uint64_t through_step_ = 0;
  bool writing_ = false;
  bool end_sent_ = false;
  bool worker_done_ = false;
  bool coordinator_done_ = false;
  bool finished_ = false;
};

bool PlanSender::accept(const v1::PlanRequest& request) {
  if (!rank_) {
    if (request.rank() >= static_cast<std::uint32_t>(senders_.job_.world_size()) ||
        request.first_step() == 0 || !senders_.job_.planner()) {
      return false;
    }
    rank_ = request.rank();
    next_step_ = request.first_step();
  }
  through_step_ = std::min(request.through_step(), next_step_ + kMaxAhead);
  worker_done_ |= request.done();
  return true;
}

void PlanSender::OnReadDone(bool ok) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  if (!ok) return finish(grpc::Status::CANCELLED);
  if (!accept(request_)) {
    return finish({grpc::StatusCode::INVALID_ARGUMENT, "a plan asked for before Join"});
  }
  if (!worker_done_) StartRead(&request_);
  advance_locked();
}

void PlanSender::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  writing_ = false;
  if (finished_) return;
  if (!ok) return finish(grpc::Status::CANCELLED);
  advance_locked();
}

void PlanSender::OnCancel() {
  const std::lock_guard lock(mutex_);
  finish(grpc::Status::CANCELLED);
}

void PlanSender::OnDone() {
  const bool broken = rank_ && !worker_done_ && !coordinator_done_;
  const std::uint32_t rank = rank_.value_or(0);
  JobState& job = senders_.job_;
  if (broken) job.lose(rank, "its connection broke");
  senders_.remove(this);
  delete this;
}

void PlanSender::advance() {
  const std::lock_guard lock(mutex_);
  advance_locked();
}

void PlanSender::close() {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  coordinator_done_ = true;
  finish({grpc::StatusCode::UNAVAILABLE, "the coordinator is ending"});
}

void PlanSender::advance_locked() {
  if (finished_ || writing_ || !rank_) return;
  if (worker_done_) return finish(grpc::Status::OK);
  if (const auto failure = senders_.job_.failure()) {
    coordinator_done_ = true;
    return finish(failure_status(*failure));
  }
  if (end_sent_) return;
  switch (senders_.job_.take_turn(next_step_, through_step_)) {
    case Turn::kWait:
      return;
    case Turn::kSend:
      return send_plan();
    case Turn::kEnd:
      return send_end(false);
    case Turn::kEndStopped:
      return send_end(true);
  }
}

void PlanSender::send_plan() {
  const auto shares = senders_.cache_.get(*senders_.job_.planner(), next_step_);
  *reply_.mutable_plan() = to_wire((*shares)[*rank_]);
  ++next_step_;
  write();
}

void PlanSender::send_end(bool stopped) {
  end_sent_ = true;
  reply_.mutable_end()->set_stopped(stopped);
  reply_.mutable_end()->set_stop_reason(senders_.job_.stop_reason());
  write();
}

void PlanSender::write() {
  writing_ = true;
  StartWrite(&reply_);
}

void PlanSender::finish(const grpc::Status& status) {
  if (finished_) return;
  finished_ = true;
  Finish(status);
}

grpc::ServerBidiReactor<v1::PlanRequest, v1::PlanReply>* PlanSenders::start() {
  const std::lock_guard lock(mutex_);
  auto sender = std::make_unique<PlanSender>(*this, closing_);
  open_.insert(sender.get());
  return sender.release();
}

void PlanSenders::remove(PlanSender* sender) {
  const std::lock_guard lock(mutex_);
  open_.erase(sender);
}

void PlanSenders::wake() {
  const std::lock_guard lock(mutex_);
  for (PlanSender* sender : open_) sender->advance();
}

void PlanSenders::close() {
  const std::lock_guard lock(mutex_);
  closing_ = true;
  for (PlanSender* sender : open_) sender->close();
}

}  // namespace gsplit
