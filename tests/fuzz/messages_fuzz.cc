// Messages of coordinator.proto from whoever has the token, as the coordinator's service hands them
// to the job's state, and what a worker or `gsplit status` makes of the answers. The input is a
// sequence of messages: a byte that names the kind, two for the length, the message.
#include <string>

#include "runtime/control/job_draft.h"
#include "runtime/control/job_state.h"
#include "runtime/control/wire.h"
#include "tests/fuzz/fuzz.h"

using namespace gsplit;

namespace {

constexpr std::uint32_t kWorkers = 3;

template <class Message>
Message parsed(std::string_view bytes) {
  Message message;
  // One that does not parse never reaches the service.
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) message.Clear();
  return message;
}

void report(JobState& job, const v1::ReportRequest& request) {
  // As the service does.
  if (request.rank() >= kWorkers) return;
  if (request.has_failure() && request.failure().rank() >= kWorkers) return;
  if (request.has_failure()) job.fail(from_wire(request.failure()));
  if (request.has_missing()) job.lose_the_last(request.rank(), printable(request.missing()));
  if (request.finished()) job.finish(request.rank());
}

void take_plans(JobState& job, const v1::PlanRequest& request) {
  if (job.planner() == nullptr || request.first_step() == 0) return;
  if (job.take_turn(request.first_step(), request.through_step()) != Turn::kSend) return;
  for (const StepPlan& plan : job.planner()->plan(request.first_step())) from_wire(to_wire(plan));
}

void read_answers(std::string_view bytes) {
  const auto reply = parsed<v1::HeartbeatReply>(bytes);
  fuzz::check_message(from_wire(reply.failure()).describe());
  from_wire(reply.coordinator());
  from_wire(parsed<v1::PlanReply>(bytes).plan());
  failure_of({grpc::StatusCode::ABORTED, "", std::string(bytes)});
}

void hand_over(JobState& job, JobDraft& draft, std::uint8_t kind, std::string_view bytes) {
  switch (kind % 8) {
    case 0: {
      const auto request = parsed<v1::AttendRequest>(bytes);
      job.attend(request.rank(), request.instance(), printable(request.host()));
      return;
    }
    case 1:
      return fuzz::check_message(job.join(from_wire(parsed<v1::JoinRequest>(bytes))).refusal);
    case 2:
      return job.heartbeat(from_wire(parsed<v1::HeartbeatRequest>(bytes)));
    case 3:
      return report(job, parsed<v1::ReportRequest>(bytes));
    case 4:
      return fuzz::check_message(draft.add(parsed<v1::OpenRequest>(bytes)).error_message());
    case 5:
      return take_plans(job, parsed<v1::PlanRequest>(bytes));
    case 6:
      return read_answers(bytes);
    default:
      job.request_stop(printable(std::string(bytes)));
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  JobState job({.world_size = kWorkers, .apart = true}, [] {});
  JobDraft draft(job);
  std::string_view rest = fuzz::text_of(data, size);
  while (rest.size() >= 3) {
    const auto kind = static_cast<std::uint8_t>(rest[0]);
    const std::size_t length =
        static_cast<std::uint8_t>(rest[1]) + 256u * static_cast<std::uint8_t>(rest[2]);
    rest.remove_prefix(3);
    hand_over(job, draft, kind, rest.substr(0, length));
    rest.remove_prefix(std::min(length, rest.size()));
  }
  for (const WorkerRecord& worker : job.snapshot().workers) to_wire(worker).SerializeAsString();
  if (const auto failure = job.failure()) fuzz::check_message(failure->describe());
  return 0;
}
