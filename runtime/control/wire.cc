#include "runtime/control/wire.h"

#include <algorithm>
#include <chrono>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

/// A failure ends in the exit code of bad input or of a failed system.
int exit_code_from(int code) {
  const int usage = static_cast<int>(ExitCode::kUsage);
  return code == usage ? usage : static_cast<int>(ExitCode::kSystem);
}

}  // namespace

std::string printable(const std::string& text) {
  constexpr std::size_t kLongest = 4096;
  std::string clean = text.substr(0, kLongest);
  std::replace_if(
      clean.begin(), clean.end(),
      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; }, ' ');
  return clean;
}

v1::Phase to_wire(Phase phase) { return static_cast<v1::Phase>(phase); }

Phase from_wire(v1::Phase phase) {
  return v1::Phase_IsValid(phase) ? static_cast<Phase>(phase) : Phase::kStarting;
}

v1::Place to_wire(const Place& place) {
  v1::Place message;
  message.set_host(place.host);
  message.set_phase(to_wire(place.phase));
  message.set_step(place.step);
  return message;
}

Place from_wire(const v1::Place& message) {
  return {.host = printable(message.host()),
          .phase = from_wire(message.phase()),
          .step = message.step()};
}

v1::OpenRequest to_wire(const JobData& data) {
  v1::OpenRequest message;
  message.set_total_seeds(data.train_seeds.size());
  for (const std::uint64_t bound : data.bounds) message.add_bounds(bound);
  message.set_seed(data.options.seed);
  message.set_batch_size(data.options.batch_size);
  message.set_epochs(data.options.epochs);
  message.set_max_steps(data.options.max_steps);
  message.set_drop_last(data.options.drop_last);
  message.set_slices(data.options.slices);
  message.set_dataset_fingerprint(data.dataset_fingerprint);
  return message;
}

v1::Failure to_wire(const WorkerFailure& failure) {
  v1::Failure message;
  message.set_rank(static_cast<std::uint32_t>(failure.rank));
  message.set_host(failure.host);
  message.set_phase(to_wire(failure.phase));
  message.set_step(failure.step);
  message.set_message(failure.message);
  message.set_exit_code(failure.exit_code);
  return message;
}

WorkerFailure from_wire(const v1::Failure& message) {
  return {.rank = static_cast<int>(message.rank()),
          .host = printable(message.host()),
          .phase = from_wire(message.phase()),
          .step = message.step(),
          .message = printable(message.message()),
          .exit_code = exit_code_from(message.exit_code())};
}

v1::StepPlan to_wire(const StepPlan& plan) {
  v1::StepPlan message;
  message.set_step(plan.step);
  message.set_epoch(plan.epoch);
  message.set_global_batch(plan.global_batch);
  message.set_last_of_epoch(plan.last_of_epoch);
  message.mutable_seeds()->Reserve(static_cast<int>(plan.seeds.size()));
  for (const LocalId seed : plan.seeds) message.mutable_seeds()->AddAlreadyReserved(value(seed));
  return message;
}

StepPlan from_wire(const v1::StepPlan& message) {
  StepPlan plan{.step = message.step(),
                .epoch = message.epoch(),
                .global_batch = message.global_batch(),
                .last_of_epoch = message.last_of_epoch()};
  plan.seeds.reserve(static_cast<std::size_t>(message.seeds_size()));
  for (const std::uint32_t seed : message.seeds()) plan.seeds.push_back(LocalId{seed});
  return plan;
}

v1::WorkerStatus to_wire(const WorkerRecord& worker) {
  const std::chrono::duration<double> silence = JobState::Clock::now() - worker.last_contact;
  v1::WorkerStatus message;
  message.set_rank(static_cast<std::uint32_t>(worker.rank));
  message.set_host(worker.host);
  message.set_device(worker.device);
  message.set_phase(to_wire(worker.phase));
  message.set_step(worker.step);
  message.set_seeds_done(worker.seeds_done);
  message.set_rss_bytes(worker.rss_bytes);
  message.set_seconds_since_heartbeat(silence.count());
  message.set_seeds_per_s(worker.seeds_rate.per_second());
  message.set_busy_share(worker.busy_rate.per_second());
  message.set_steps_behind(worker.steps_behind);
  message.set_device_bytes(worker.device_bytes);
  message.set_core_wait_share(worker.core_wait_rate.per_second());
  return message;
}

JoinClaim from_wire(const v1::JoinRequest& request) {
  return {.rank = request.rank(),
          .world_size = request.world_size(),
          .instance = request.instance(),
          .version = printable(request.version()),
          .host = printable(request.host()),
          .device = printable(request.device()),
          .dataset_fingerprint = printable(request.dataset_fingerprint())};
}

Beat from_wire(const v1::HeartbeatRequest& request) {
  return {.rank = request.rank(),
          .instance = request.instance(),
          .host = printable(request.host()),
          .phase = from_wire(request.phase()),
          .step = request.step(),
          .seeds_done = request.seeds_done(),
          .rss_bytes = request.rss_bytes(),
          .exchanges = request.exchanges(),
          .busy_s = request.busy_s(),
          .core_wait_s = request.core_wait_s(),
          .device_bytes = request.device_bytes()};
}

grpc::Status failure_status(const WorkerFailure& failure) {
  return {grpc::StatusCode::ABORTED, failure.describe(), to_wire(failure).SerializeAsString()};
}

std::optional<WorkerFailure> failure_of(const grpc::Status& status) {
  v1::Failure message;
  if (status.error_code() != grpc::StatusCode::ABORTED) return std::nullopt;
  if (!message.ParseFromString(status.error_details())) return std::nullopt;
  return from_wire(message);
}

}  // namespace gsplit
