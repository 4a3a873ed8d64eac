#include "runtime/control/attendance.h"

#include <grpcpp/server_context.h>

#include <memory>
#include <optional>

#include "runtime/control/wire.h"

namespace gsplit {

/// One worker's call. gRPC calls the On... functions from its threads.
class Attendance final : public grpc::ServerUnaryReactor {
 public:
  Attendance(Attendances& all, std::uint32_t rank) : all_(all), rank_(rank) {}

  /// Tells the worker that it is heard, which need not happen before the call ends.
  void greet();
  void OnSendInitialMetadataDone(bool ok) override;
  void OnCancel() override { finish(grpc::Status::CANCELLED, true); }
  void OnDone() override;
  void advance();
  void finish(const grpc::Status& status, bool broken = false);

 private:
  Attendances& all_;
  const std::uint32_t rank_;
  std::mutex mutex_;
  bool broken_ = false;
  bool finished_ = false;
  bool greeting_ = false;
  std::optional<grpc::Status> end_;  // comes after the greeting
};

void Attendance::greet() {
  greeting_ = true;
  StartSendInitialMetadata();
}

void Attendance::OnSendInitialMetadataDone(bool) {
  const std::lock_guard lock(mutex_);
  greeting_ = false;
  if (end_) Finish(*end_);
}

void Attendance::OnDone() {
  if (broken_) all_.job_.lose(rank_, "its connection broke");
  all_.remove(this);
  delete this;
}

void Attendance::advance() {
  if (all_.job_.has_finished(rank_)) return finish(grpc::Status::OK);
  if (const auto failure = all_.job_.failure()) {
    all_.job_.tell_failure(rank_);
    finish(failure_status(*failure));
  }
}

void Attendance::finish(const grpc::Status& status, bool broken) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  finished_ = true;
  broken_ = broken;
  if (greeting_) {
    end_ = status;
  } else {
    Finish(status);
  }
}

grpc::ServerUnaryReactor* Attendances::start(grpc::CallbackServerContext* context,
                                             const v1::AttendRequest& request) {
  auto attendance = std::make_unique<Attendance>(*this, request.rank());
  const bool welcome = job_.attend(request.rank(), request.instance(), printable(request.host()));
  const std::lock_guard lock(mutex_);
  open_.insert(attendance.get());
  if (!welcome) {
    attendance->finish({grpc::StatusCode::FAILED_PRECONDITION, "Join says why"});
    return attendance.release();
  }
  context->AddInitialMetadata(kAttending, "yes");
  attendance->greet();
  if (closing_) {
    attendance->finish({grpc::StatusCode::UNAVAILABLE, "the coordinator is ending"});
  } else {
    attendance->advance();
  }
  return attendance.release();
}

void Attendances::remove(Attendance* attendance) {
  const std::lock_guard lock(mutex_);
  open_.erase(attendance);
}

void Attendances::wake() {
  const std::lock_guard lock(mutex_);
  for (Attendance* attendance : open_) attendance->advance();
}

void Attendances::close() {
  const std::lock_guard lock(mutex_);
  closing_ = true;
  for (Attendance* attendance : open_) {
    attendance->finish({grpc::StatusCode::UNAVAILABLE, "the coordinator is ending"});
  }
}

}  // namespace gsplit
