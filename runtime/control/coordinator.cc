#include "runtime/control/coordinator.h"

#include <fmt/format.h>
#include <grpc/grpc.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <charconv>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/control/attendance.h"
#include "runtime/control/doorman.h"
#include "runtime/control/grpc_setup.h"
#include "runtime/control/job_draft.h"
#include "runtime/control/job_state.h"
#include "runtime/control/plan_sender.h"
#include "runtime/control/wire.h"

namespace gsplit {
namespace {

constexpr int kMaxStreams = 32;  // of one connection; a worker has three at once
/// Workers are strangers until they have shown the token, and may all come at once: so many more.
constexpr std::size_t kMoreStrangers = 64;

/// The calls of coordinator.proto, each a translation of messages around one call of JobState.
class CoordinatorService final : public v1::Coordinator::CallbackService {
 public:
  CoordinatorService(JobState& job, Attendances& attendances, PlanSenders& senders,
                     Doorman& doorman)
      : job_(job), attendances_(attendances), senders_(senders), doorman_(doorman), draft_(job) {}

  grpc::ServerUnaryReactor* Attend(grpc::CallbackServerContext* context,
                                   const v1::AttendRequest* request, v1::AttendReply*) override {
    if (!doorman_.admit(context->peer())) {
      // Just put out: the worker comes again.
      return end(context, {grpc::StatusCode::UNAVAILABLE, "put out before the token was read"});
    }
    return attendances_.start(context, *request);
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

  grpc::ServerUnaryReactor* Open(grpc::CallbackServerContext* context,
                                 const v1::OpenRequest* request, v1::OpenReply*) override {
    return end(context, draft_.add(*request));
  }

  grpc::ServerBidiReactor<v1::PlanRequest, v1::PlanReply>* StreamPlan(
      grpc::CallbackServerContext* context) override {
    doorman_.admit(context->peer());
    return senders_.start();
  }

  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatReply* reply) override {
    job_.heartbeat(from_wire(*request));
    if (!request->stop_reason().empty()) job_.request_stop(printable(request->stop_reason()));
    reply->set_stop_requested(job_.stop_requested());
    reply->set_stop_reason(job_.stop_reason());
    *reply->mutable_coordinator() = to_wire(job_.coordinator_place());
    if (const auto failure = job_.failure()) {
      job_.tell_failure(request->rank());
      *reply->mutable_failure() = to_wire(*failure);
    }
    return end(context, grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* Report(grpc::CallbackServerContext* context,
                                   const v1::ReportRequest* request, v1::ReportReply*) override {
    const auto workers = static_cast<std::uint32_t>(job_.world_size());
    if (request->rank() >= workers ||
        (request->has_failure() && request->failure().rank() >= workers)) {
      return end(context, {grpc::StatusCode::INVALID_ARGUMENT, "no such rank"});
    }
    if (request->has_failure()) job_.fail(from_wire(request->failure()));
    if (request->has_missing()) job_.lose_the_last(request->rank(), printable(request->missing()));
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
  /// Of a call that is served at once. It has passed the TokenCheck, as all have that come here.
  grpc::ServerUnaryReactor* end(grpc::CallbackServerContext* context, const grpc::Status& status) {
    doorman_.admit(context->peer());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }

  JobState& job_;
  Attendances& attendances_;
  PlanSenders& senders_;
  Doorman& doorman_;
  JobDraft draft_;
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

/// Where workers look for it: every host with the port, separated by commas.
std::string addresses_of(const std::vector<std::string>& hosts, int port) {
  std::string addresses;
  for (const std::string& host : hosts) {
    const bool is_v6 = host.find(':') != std::string::npos && host.front() != '[';
    addresses +=
        fmt::format("{}{}:{}", addresses.empty() ? "" : ",", is_v6 ? "[" + host + "]" : host, port);
  }
  return addresses;
}

}  // namespace

struct Coordinator::Impl {
  Impl(const CoordinatorOptions& options, const BindAddress& bind)
      : job(options, [this] { tell_all(); }),
        attendances(job),
        senders(job),
        doorman({.host = bind.host,
                 .port = bind.port,
                 .max_strangers = kMoreStrangers + static_cast<std::size_t>(options.world_size)}),
        service(job, attendances, senders, doorman) {
    quiet_grpc_log();
    const Identity identity = options.identity ? *options.identity : make_identity();
    contact = {addresses_of(options.hosts.empty() ? std::vector{bind.host} : options.hosts,
                            doorman.port()),
               identity.credentials()};
    start_server(identity);
    card.emplace(contact);
    monitor = std::thread([this] { watch_workers(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    end_of_watch.notify_all();
    monitor.join();
    card.reset();
    doorman.close();
    attendances.close();
    senders.close();
    // Calls that answer at once need no more; what a stalled peer holds open is cancelled.
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  }

  void start_server(const Identity& identity) {
    using External = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
    grpc::ServerBuilder builder;
    acceptor = builder.experimental().AddExternalConnectionAcceptor(External::FROM_FD,
                                                                    server_credentials(identity));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // a sender's window stays small
    builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
    builder.SetMaxSendMessageSize(kMaxMessageBytes);
    builder.RegisterService(&service);
    server = builder.BuildAndStart();
    if (!server) throw SystemError("gRPC cannot start the coordinator's server", "run it again");
    doorman.open([this](int descriptor) {
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
      connection.fd = descriptor;
      acceptor->HandleNewConnection(&connection);
    });
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
  Doorman doorman;
  CoordinatorService service;
  Contact contact;
  std::optional<ContactCard> card;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
  std::unique_ptr<grpc::Server> server;
  std::mutex mutex;
  std::condition_variable end_of_watch;
  bool ending = false;
  std::thread monitor;
};

Coordinator::Coordinator(const CoordinatorOptions& options) {
  GSPLIT_CHECK(options.world_size >= 1);
  impl_ = std::make_unique<Impl>(options, split_address(options.bind_address));
}

Coordinator::~Coordinator() = default;

std::string Coordinator::address() const { return impl_->contact.first_address(); }

const Contact& Coordinator::contact() const { return impl_->contact; }

const std::string& Coordinator::card_problem() const { return impl_->card->problem(); }

std::uint64_t Coordinator::num_put_out() const { return impl_->doorman.num_put_out(); }

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

bool Coordinator::has_begun() const { return impl_->job.has_begun(); }

bool Coordinator::has_finished() const { return impl_->job.everyone_has_finished(); }

}  // namespace gsplit
