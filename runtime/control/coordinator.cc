#include "runtime/control/coordinator.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <grpc/grpc.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <charconv>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/control/attendance.h"
#include "runtime/control/grpc_setup.h"
#include "runtime/control/job_state.h"
#include "runtime/control/plan_sender.h"
#include "runtime/control/wire.h"

namespace gsplit {
namespace {

/// The calls of coordinator.proto, each a translation of messages around one call of JobState.
class CoordinatorService final : public v1::Coordinator::CallbackService {
 public:
  CoordinatorService(JobState& job, Attendances& attendances, PlanSenders& senders)
      : job_(job), attendances_(attendances), senders_(senders) {}

  grpc::ServerUnaryReactor* Attend(grpc::CallbackServerContext*, const v1::AttendRequest* request,
                                   v1::AttendReply*) override {
    return attendances_.start(*request);
  }

  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context,
                                 const v1::JoinRequest* request, v1::JoinReply* reply) override {
    const JoinAnswer answer = job_.join(from_wire(*request));
    if (!answer.refusal.empty()) {
      return end(context, {grpc::StatusCode::FAILED_PRECONDITION, answer.refusal});
    }
    if (const auto failure = job_.failure()) {
      job_.tell_failure(request->rank());
      return end(context, failure_status(*failure));
    }
    reply->set_ready(answer.ready);
    reply->set_waiting_for(answer.waiting_for);
    reply->set_total_steps(answer.total_steps);
    reply->set_steps_per_epoch(answer.steps_per_epoch);
    return end(context, grpc::Status::OK);
  }

  grpc::ServerBidiReactor<v1::PlanRequest, v1::PlanReply>* StreamPlan(
      grpc::CallbackServerContext*) override {
    return senders_.start();
  }

  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatReply* reply) override {
    job_.heartbeat(from_wire(*request));
    if (!request->stop_reason().empty()) job_.request_stop(request->stop_reason());
    reply->set_stop_requested(job_.stop_requested());
    *reply->mutable_coordinator() = to_wire(job_.coordinator_place());
    if (const auto failure = job_.failure()) {
      job_.tell_failure(request->rank());
      *reply->mutable_failure() = to_wire(*failure);
    }
    return end(context, grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* Report(grpc::CallbackServerContext* context,
                                   const v1::ReportRequest* request, v1::ReportReply*) override {
    if (request->has_failure()) job_.fail(from_wire(request->failure()));
    if (request->has_missing()) job_.lose_the_last(request->rank(), request->missing());
    if (request->finished()) job_.finish(request->rank());
    return end(context, grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context, const v1::StatusRequest*,
                                   v1::StatusReply* reply) override {
    const JobSnapshot snapshot = job_.snapshot();
    reply->set_version(GSPLIT_VERSION);
    reply->set_total_steps(snapshot.total_steps);
    reply->set_world_size(static_cast<std::uint32_t>(job_.world_size()));
    reply->set_stop_requested(snapshot.stop_requested);
    for (const WorkerRecord& worker : snapshot.workers) *reply->add_workers() = to_wire(worker);
    if (snapshot.failure) *reply->mutable_failure() = to_wire(*snapshot.failure);
    return end(context, grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* Stop(grpc::CallbackServerContext* context, const v1::StopRequest*,
                                 v1::StopReply* reply) override {
    reply->set_step(job_.request_stop("gsplit stop"));
    return end(context, grpc::Status::OK);
  }

 private:
  static grpc::ServerUnaryReactor* end(grpc::CallbackServerContext* context,
                                       const grpc::Status& status) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }

  JobState& job_;
  Attendances& attendances_;
  PlanSenders& senders_;
};

struct BindAddress {
  std::string host;
  std::string port;
};

BindAddress split_address(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  BindAddress parts;
  int port = -1;
  if (colon != std::string::npos) {
    parts = {address.substr(0, colon), address.substr(colon + 1)};
    const char* const end = parts.port.data() + parts.port.size();
    const auto parsed = std::from_chars(parts.port.data(), end, port);
    if (parsed.ec != std::errc() || parsed.ptr != end) port = -1;
  }
  if (parts.host.empty() || port < 0 || port > 65535) {
    throw UsageError(fmt::format("'{}' is not an address for the coordinator", address),
                     "write HOST:PORT, for example 127.0.0.1:0 for any free port");
  }
  return parts;
}

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  return host == "localhost" || host == "[::1]";
}

/// Without TLS nothing but loopback is safe: whoever reaches the port could stop the job.
void refuse_open_network(const BindAddress& address) {
  if (is_loopback(address.host)) return;
  throw UsageError(fmt::format("the coordinator has no TLS and does not serve on {}, which other "
                               "hosts can reach",
                               address.host),
                   "use 127.0.0.1 and workers of one host");
}

}  // namespace

struct Coordinator::Impl {
  explicit Impl(const CoordinatorOptions& options)
      : job(options, [this] { tell_all(); }),
        attendances(job),
        senders(job),
        service(job, attendances, senders) {
    quiet_grpc_log();
    start_server(options.bind_address);
    monitor = std::thread([this] { watch_workers(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    end_of_watch.notify_all();
    monitor.join();
    attendances.close();
    senders.close();
    // Calls that answer at once need no more; what a stalled peer holds open is cancelled.
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  }

  void start_server(const std::string& bind_address) {
    const BindAddress wanted = split_address(bind_address);
    refuse_open_network(wanted);
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(bind_address, grpc::InsecureServerCredentials(), &port);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a taken port is an error
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.SetMaxSendMessageSize(kMaxMessageBytes);
    builder.RegisterService(&service);
    server = builder.BuildAndStart();
    if (!server || port == 0) {
      throw SystemError(fmt::format("the coordinator cannot listen on {}", bind_address),
                        "is the port taken? port 0 finds a free one");
    }
    address = fmt::format("{}:{}", wanted.host, port);
  }

  void tell_all() {
    attendances.wake();
    senders.wake();
  }

  void watch_workers() {
    std::unique_lock lock(mutex);
    while (!ending) {
      lock.unlock();
      const JobState::Clock::time_point next_look = job.find_lost();
      lock.lock();
      end_of_watch.wait_until(lock, next_look, [this] { return ending; });
    }
  }

  JobState job;
  Attendances attendances;
  PlanSenders senders;
  CoordinatorService service;
  std::string address;
  std::unique_ptr<grpc::Server> server;
  std::mutex mutex;
  std::condition_variable end_of_watch;
  bool ending = false;
  std::thread monitor;
};

Coordinator::Coordinator(const CoordinatorOptions& options) {
  GSPLIT_CHECK(options.world_size >= 1);
  impl_ = std::make_unique<Impl>(options);
}

Coordinator::~Coordinator() = default;

const std::string& Coordinator::address() const { return impl_->address; }

void Coordinator::open(Job job) { impl_->job.open(std::move(job)); }

void Coordinator::fail(const WorkerFailure& failure) { impl_->job.fail(failure); }

std::optional<WorkerFailure> Coordinator::failure() const { return impl_->job.failure(); }

JobSnapshot Coordinator::snapshot() const { return impl_->job.snapshot(); }

void Coordinator::linger_after_failure(std::chrono::milliseconds patience) const {
  const auto end = JobState::Clock::now() + patience;
  while (!impl_->job.everyone_knows_failure() && JobState::Clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void Coordinator::request_stop(const std::string& reason) { impl_->job.request_stop(reason); }

std::string Coordinator::stop_reason() const { return impl_->job.stop_reason(); }

}  // namespace gsplit
