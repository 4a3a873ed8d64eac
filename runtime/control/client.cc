#include "runtime/control/client.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/control/client_state.h"
#include "runtime/control/grpc_setup.h"
#include "runtime/control/plan_receiver.h"
#include "runtime/control/wire.h"

namespace gsplit {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// For the report of a failure: the others find out by themselves when it does not get through.
constexpr milliseconds kReportPatience{1000};

/// Between two tries to attend.
constexpr milliseconds kPauseAtDoor{50};

/// Resident memory of this process; 0 where /proc does not tell.
std::uint64_t resident_bytes() {
  std::uint64_t total_pages = 0;
  std::uint64_t resident_pages = 0;
  std::ifstream("/proc/self/statm") >> total_pages >> resident_pages;
  return resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

/// Seconds in which the thread could run and had no core; 0 where the kernel does not tell.
double seconds_without_core(pid_t thread) {
  double ran_ns = 0;
  double waited_ns = 0;
  std::ifstream(fmt::format("/proc/self/task/{}/schedstat", thread)) >> ran_ns >> waited_ns;
  return waited_ns / 1e9;
}

/// Of an Open: half a MiB.
constexpr std::size_t kSeedsAtOnce = 1 << 16;

std::uint64_t draw_instance() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

void set_timeout(grpc::ClientContext& context, milliseconds timeout) {
  context.set_deadline(std::chrono::system_clock::now() + timeout);
}

}  // namespace

struct CoordinatorClient::Impl {
  Impl(const ClientOptions& options, const Progress& progress)
      : state(std::make_shared<ClientState>(options, progress)),
        stub(make_stub(options.contact)),
        instance(draw_instance()) {
    heartbeat_thread = std::thread([this] { keep_alive(); });
    attending_thread = std::thread([this] { attend(); });
  }

  ~Impl() {
    end_heartbeats();
    heartbeat_thread.join();
    attending_thread.join();
  }

  void end_heartbeats() {
    const std::lock_guard lock(state->mutex);
    ending = true;
    if (attend_context) attend_context->TryCancel();
    if (beat_context) beat_context->TryCancel();
    state->changed.notify_all();
  }

  void attend();
  std::optional<grpc::Status> try_to_attend();
  void keep_alive();
  v1::HeartbeatRequest beat_request() const;
  bool beat(milliseconds timeout);
  bool pause_unless_ending(milliseconds duration);
  void give_up();
  void report(v1::ReportRequest& request, milliseconds patience) noexcept;

  std::shared_ptr<ClientState> state;
  std::shared_ptr<v1::Coordinator::Stub> stub;
  const std::uint64_t instance;
  const pid_t owner = gettid();                       // the worker's thread
  std::optional<grpc::ClientContext> beat_context;    // of the beat under way; by state->mutex
  std::optional<grpc::ClientContext> attend_context;  // of the latest try; by state->mutex
  bool ending = false;                                // by state->mutex
  bool answered_once = false;                         // of heartbeat_thread, as the next
  std::string last_error;                             // before the first answer
  std::thread heartbeat_thread;
  std::thread attending_thread;
};

/// How the call has ended that lasts until the job's failure or the coordinator's end; nothing
/// where the coordinator has not heard it, or this client ends. Among many strangers who come at
/// the same time a worker may be put out before its token has been read.
std::optional<grpc::Status> CoordinatorClient::Impl::try_to_attend() {
  v1::AttendRequest request;
  request.set_rank(static_cast<std::uint32_t>(state->options().rank));
  request.set_instance(instance);
  request.set_host(state->options().host);
  {
    const std::lock_guard lock(state->mutex);
    if (ending) return std::nullopt;
    attend_context.emplace();
    attend_context->set_wait_for_ready(true);
  }
  v1::AttendReply reply;
  const grpc::Status status = stub->Attend(&*attend_context, request, &reply);
  const std::lock_guard lock(state->mutex);
  if (ending) return std::nullopt;
  const bool heard = attend_context->GetServerInitialMetadata().contains(kAttending);
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && !heard) return std::nullopt;
  return status;
}

/// Until the call has been heard and has ended, the client ends, or the heartbeats give up.
void CoordinatorClient::Impl::attend() {
  std::optional<grpc::Status> end;
  while (!(end = try_to_attend())) {
    if (!pause_unless_ending(kPauseAtDoor) || state->failure()) return;
  }
  const grpc::Status& status = *end;
  if (const auto failure = failure_of(status)) return state->set_failure(*failure);
  if (status.ok() || status.error_code() == grpc::StatusCode::FAILED_PRECONDITION) return;
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
    return state->set_failure(
        state->own_failure(fmt::format("the coordinator at {} does not take this token; give the "
                                       "--token-file that it was started with",
                                       state->options().contact.first_address()),
                           static_cast<int>(ExitCode::kUsage)));
  }
  state->set_failure(state->coordinator_loss(fmt::format("is gone ({})", status.error_message())));
}

v1::HeartbeatRequest CoordinatorClient::Impl::beat_request() const {
  v1::HeartbeatRequest request;
  request.set_rank(static_cast<std::uint32_t>(state->options().rank));
  request.set_host(state->options().host);
  request.set_instance(instance);
  request.set_phase(to_wire(state->progress().phase.load()));
  request.set_step(state->progress().step.load());
  request.set_seeds_done(state->progress().seeds_done.load());
  request.set_rss_bytes(resident_bytes());
  request.set_exchanges(state->progress().exchanges.load());
  request.set_busy_s(state->progress().busy_s.load());
  request.set_device_bytes(state->progress().device_bytes.load());
  request.set_core_wait_s(seconds_without_core(owner));
  if (state->options().stop_reason) request.set_stop_reason(state->options().stop_reason());
  return request;
}

/// True when the coordinator has answered.
bool CoordinatorClient::Impl::beat(milliseconds timeout) {
  {
    const std::lock_guard lock(state->mutex);
    if (ending) return true;
    beat_context.emplace();
    set_timeout(*beat_context, timeout);
  }
  const TraceSpan span(state->progress().tracer, "heartbeat");
  v1::HeartbeatReply reply;
  const grpc::Status status = stub->Heartbeat(&*beat_context, beat_request(), &reply);
  {
    const std::lock_guard lock(state->mutex);
    beat_context.reset();
  }
  if (!status.ok()) {
    if (!answered_once) last_error = status.error_message();
    return false;
  }
  answered_once = true;
  state->set_coordinator_place(from_wire(reply.coordinator()));
  if (reply.stop_requested()) state->set_stop_requested(reply.stop_reason());
  if (reply.has_failure()) state->set_failure(from_wire(reply.failure()));
  return true;
}

/// Beats until the client ends or the coordinator has been silent for the deadline.
void CoordinatorClient::Impl::keep_alive() {
  const milliseconds deadline = state->options().deadline;
  Clock::time_point last_answer = Clock::now();
  do {
    const auto silence = std::chrono::duration_cast<milliseconds>(Clock::now() - last_answer);
    if (silence >= deadline) return give_up();
    if (beat(deadline - silence)) last_answer = Clock::now();
  } while (pause_unless_ending(std::min(state->options().heartbeat_interval, deadline / 4)));
}

bool CoordinatorClient::Impl::pause_unless_ending(milliseconds duration) {
  std::unique_lock lock(state->mutex);
  return !state->changed.wait_for(lock, duration, [this] { return ending; });
}

void CoordinatorClient::Impl::give_up() {
  const std::chrono::duration<double> deadline = state->options().deadline;
  const std::string why = answered_once || last_error.empty() ? "" : " (" + last_error + ")";
  state->set_failure(
      state->coordinator_loss(fmt::format("does not answer for {} s{}", deadline.count(), why)));
}

void CoordinatorClient::Impl::report(v1::ReportRequest& request, milliseconds patience) noexcept {
  try {
    grpc::ClientContext context;
    set_timeout(context, std::min(patience, state->options().deadline));
    v1::ReportReply reply;
    request.set_rank(static_cast<std::uint32_t>(state->options().rank));
    stub->Report(&context, request, &reply);
  } catch (const std::exception&) {
    // Best effort: silence says as much, a deadline later.
  }
}

CoordinatorClient::CoordinatorClient(const ClientOptions& options, const Progress& progress)
    : impl_(std::make_unique<Impl>(options, progress)) {}

CoordinatorClient::~CoordinatorClient() = default;

JoinResult CoordinatorClient::join(const std::string& version,
                                   const std::string& dataset_fingerprint) {
  ClientState& state = *impl_->state;
  v1::JoinRequest request;
  request.set_rank(static_cast<std::uint32_t>(state.options().rank));
  request.set_world_size(static_cast<std::uint32_t>(state.options().world_size));
  request.set_version(version);
  request.set_host(state.options().host);
  request.set_device(state.options().device);
  request.set_dataset_fingerprint(dataset_fingerprint);
  request.set_instance(impl_->instance);
  for (milliseconds pause{2};; pause = std::min(pause * 2, milliseconds{200})) {
    grpc::ClientContext context;
    set_timeout(context, state.options().deadline);
    v1::JoinReply reply;
    const grpc::Status status = impl_->stub->Join(&context, request, &reply);
    if (status.ok() && reply.ready()) return {reply.total_steps(), reply.steps_per_epoch()};
    if (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION) {
      throw UsageError(status.error_message());
    }
    if (const auto failure = failure_of(status)) state.set_failure(*failure);
    state.check();  // the heartbeats judge whether the coordinator still answers
    impl_->pause_unless_ending(pause);
  }
}

std::unique_ptr<PlanStream> CoordinatorClient::stream_plans(std::uint64_t first_step) {
  GSPLIT_CHECK(first_step >= 1);
  return std::make_unique<PlanReceiver>(impl_->stub, impl_->state, first_step);
}

void CoordinatorClient::open(const JobData& data) {
  ClientState& state = *impl_->state;
  v1::OpenRequest request = to_wire(data);
  request.set_instance(impl_->instance);
  std::size_t offset = 0;
  milliseconds pause{2};
  while (offset < data.train_seeds.size()) {
    const auto piece =
        data.train_seeds.subspan(offset, std::min(kSeedsAtOnce, data.train_seeds.size() - offset));
    request.set_offset(offset);
    request.clear_seeds();
    for (const GlobalId seed : piece) request.add_seeds(value(seed));
    grpc::ClientContext context;
    set_timeout(context, state.options().deadline);
    v1::OpenReply reply;
    const grpc::Status status = impl_->stub->Open(&context, request, &reply);
    if (status.ok()) {
      offset += piece.size();
      continue;
    }
    if (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION ||
        status.error_code() == grpc::StatusCode::INVALID_ARGUMENT) {
      throw UsageError(status.error_message(), "see that all workers belong to this job");
    }
    state.check();  // as in join()
    impl_->pause_unless_ending(pause);
    pause = std::min(pause * 2, milliseconds{200});
  }
}

std::string CoordinatorClient::stop_reason() const { return impl_->state->stop_reason(); }

bool CoordinatorClient::stop_requested() const { return impl_->state->stop_requested(); }

std::optional<WorkerFailure> CoordinatorClient::failure() const { return impl_->state->failure(); }

void CoordinatorClient::report_failure(const std::string& message, int exit_code) noexcept {
  try {
    v1::ReportRequest request;
    *request.mutable_failure() = to_wire(impl_->state->own_failure(message, exit_code));
    impl_->report(request, kReportPatience);
  } catch (const std::exception&) {
    // As in report().
  }
}

void CoordinatorClient::report_loss(int rank, const std::string& how) noexcept {
  try {
    v1::ReportRequest request;
    *request.mutable_failure() = to_wire(WorkerFailure{.rank = rank, .message = how});
    impl_->report(request, kReportPatience);
  } catch (const std::exception&) {
    // As in report().
  }
}

void CoordinatorClient::report_missing(const std::string& how) noexcept {
  try {
    v1::ReportRequest request;
    request.set_missing(how);
    impl_->report(request, kReportPatience);
  } catch (const std::exception&) {
    // As in report().
  }
}

void CoordinatorClient::report_finished() noexcept {
  try {
    v1::ReportRequest request;
    request.set_finished(true);
    impl_->report(request, impl_->state->options().deadline);
    impl_->state->set_finished();
    impl_->end_heartbeats();  // the coordinator may now end before this client does
  } catch (const std::exception&) {
    // As in report().
  }
}

}  // namespace gsplit
