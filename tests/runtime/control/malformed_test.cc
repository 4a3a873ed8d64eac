// What the coordinator makes of messages that no worker of ours sends, from somebody who has the
// token.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "runtime/control/grpc_setup.h"
#include "runtime/control/job_state.h"
#include "tests/runtime/control/control_fixture.h"

namespace gsplit {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

const char* const kUnary[] = {"Attend", "Join", "Heartbeat", "Report", "Status", "Stop", "Open"};

/// A caller with the job's credentials, past our client.
class Rogue {
 public:
  explicit Rogue(const Contact& contact)
      : stub_(make_stub(contact)), channel_(make_channel(contact)) {}

  /// How a call with these bytes as its message ends.
  grpc::Status send(const std::string& method, const std::string& bytes) {
    grpc::GenericStub generic(channel_);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    const grpc::Slice slice(bytes);
    grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer reply;
    grpc::CompletionQueue queue;
    const auto call =
        generic.PrepareUnaryCall(&context, "/gsplit.v1.Coordinator/" + method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&reply, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }

  v1::Coordinator::Stub& stub() { return *stub_; }

 private:
  static std::shared_ptr<grpc::Channel> make_channel(const Contact& contact) {
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride(kCertificateName);
    return grpc::CreateCustomChannel(
        contact.address,
        grpc::CompositeChannelCredentials(
            grpc::SslCredentials({.pem_root_certs = contact.credentials.certificate}),
            grpc::AccessTokenCredentials(contact.credentials.token)),
        arguments);
  }

  std::unique_ptr<v1::Coordinator::Stub> stub_;
  std::shared_ptr<grpc::Channel> channel_;
};

class Malformed : public testing::Test {
 protected:
  Malformed()
      : job_(2, {.seed = 1, .batch_size = 100, .epochs = 3}), rogue_(job_.coordinator().contact()) {
    job_.open();
  }
  /// A whole job can still be run.
  void expect_unharmed() {
    EXPECT_FALSE(job_.coordinator().failure());
    const auto first = job_.client(0);
    const auto second = job_.client(1);
    std::thread joining([&] { job_.join(*second); });
    EXPECT_EQ(job_.join(*first).total_steps, job_.planner().total_steps());
    joining.join();
    const auto plans = first->stream_plans(1);
    EXPECT_EQ(plans->next()->step, 1u);
  }

  ControlFixture job_;
  Rogue rogue_;
};

TEST_F(Malformed, BytesThatAreNoMessageAreRefused) {
  for (const std::string& bytes : {std::string("\xff\xff\xff\xff"), std::string(1000, '\x0b'),
                                   std::string("\x0a\x7f"
                                               "short")}) {
    for (const char* method : kUnary) {
      EXPECT_NE(rogue_.send(method, bytes).error_code(), StatusCode::OK) << method;
    }
  }
  EXPECT_EQ(rogue_.send("NoSuchCall", "").error_code(), StatusCode::UNIMPLEMENTED);
  expect_unharmed();
}

TEST_F(Malformed, MessagesThatAreTooLongAreRefused) {
  for (const char* method : kUnary) {
    EXPECT_EQ(rogue_.send(method, std::string(kMaxRequestBytes + 100, 'x')).error_code(),
              StatusCode::RESOURCE_EXHAUSTED)
        << method;
  }
  expect_unharmed();
}

TEST_F(Malformed, RanksOutsideOfTheJobAreNobody) {
  for (const std::uint32_t rank : {2u, 1000u, 0x7fffffffu, 0xffffffffu}) {
    const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(2);
    {
      grpc::ClientContext context;
      context.set_deadline(deadline);
      v1::ReportRequest request;
      request.set_rank(rank);
      request.set_finished(true);
      v1::ReportReply reply;
      EXPECT_EQ(rogue_.stub().Report(&context, request, &reply).error_code(),
                StatusCode::INVALID_ARGUMENT);
    }
    {
      grpc::ClientContext context;
      context.set_deadline(deadline);
      v1::ReportRequest request;
      request.mutable_failure()->set_rank(rank);
      v1::ReportReply reply;
      EXPECT_FALSE(rogue_.stub().Report(&context, request, &reply).ok());
    }
    {
      grpc::ClientContext context;
      context.set_deadline(deadline);
      v1::HeartbeatRequest request;
      request.set_rank(rank);
      request.set_phase(static_cast<v1::Phase>(77));
      v1::HeartbeatReply reply;
      EXPECT_TRUE(rogue_.stub().Heartbeat(&context, request, &reply).ok());
    }
    {
      grpc::ClientContext context;
      context.set_deadline(deadline);
      v1::AttendRequest request;
      request.set_rank(rank);
      v1::AttendReply reply;
      EXPECT_EQ(rogue_.stub().Attend(&context, request, &reply).error_code(),
                StatusCode::FAILED_PRECONDITION);
    }
    {
      grpc::ClientContext context;
      context.set_deadline(deadline);
      const auto stream = rogue_.stub().StreamPlan(&context);
      v1::PlanRequest request;
      request.set_rank(rank);
      request.set_first_step(1);
      request.set_through_step(~0ull);
      stream->Write(request);
      v1::PlanReply reply;
      EXPECT_FALSE(stream->Read(&reply));
      EXPECT_EQ(stream->Finish().error_code(), StatusCode::INVALID_ARGUMENT);
    }
  }
  expect_unharmed();
}

TEST_F(Malformed, CreditWithoutEndIsCut) {
  grpc::ClientContext context;
  const auto stream = rogue_.stub().StreamPlan(&context);
  v1::PlanRequest request;
  request.set_rank(0);
  request.set_first_step(~0ull);  // far behind the last step
  request.set_through_step(~0ull);
  stream->Write(request);
  v1::PlanReply reply;
  ASSERT_TRUE(stream->Read(&reply));
  EXPECT_TRUE(reply.has_end());
  request.set_done(true);
  stream->WriteLast(request, {});
  EXPECT_TRUE(stream->Finish().ok());
  expect_unharmed();
}

TEST_F(Malformed, AFailuresTextIsOneLineOfBoundedLength) {
  grpc::ClientContext context;
  v1::ReportRequest request;
  request.mutable_failure()->set_rank(1);
  request.mutable_failure()->set_host("a\nb\033[2J");
  request.mutable_failure()->set_message(std::string(100000, 'x') + "\n");
  request.mutable_failure()->set_exit_code(-12345);
  v1::ReportReply reply;
  EXPECT_TRUE(rogue_.stub().Report(&context, request, &reply).ok());
  const auto failure = job_.coordinator().failure();
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->host, "a b [2J");
  EXPECT_LT(failure->describe().size(), 5000u);
  EXPECT_EQ(failure->exit_code, 3);
}

TEST_F(Malformed, TextsOfAllMessagesAreWithoutControlCharacters) {
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(5);
  grpc::ClientContext attending;
  std::thread attends([&] {
    v1::AttendRequest request;
    request.set_host("host\nof\033[2J");
    v1::AttendReply reply;
    rogue_.stub().Attend(&attending, request, &reply);
  });
  grpc::ClientContext beating;
  beating.set_deadline(deadline);
  v1::HeartbeatRequest beat;
  beat.set_rank(1);
  beat.set_stop_reason("a\nb");
  v1::HeartbeatReply beaten;
  EXPECT_TRUE(rogue_.stub().Heartbeat(&beating, beat, &beaten).ok());
  EXPECT_EQ(beaten.stop_reason(), "a b");
  while (job_.coordinator().snapshot().workers.size() < 2) std::this_thread::yield();
  EXPECT_EQ(job_.coordinator().snapshot().workers[0].host, "host of [2J");
  grpc::ClientContext reporting;
  reporting.set_deadline(deadline);
  v1::ReportRequest report;
  report.set_rank(1);
  report.set_missing("did\nnot\tcome");
  v1::ReportReply reported;
  EXPECT_TRUE(rogue_.stub().Report(&reporting, report, &reported).ok());
  attends.join();
  EXPECT_THAT(job_.coordinator().failure()->message, HasSubstr("did not come"));
}

TEST_F(Malformed, RandomBytesDoNoHarm) {
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    // A valid Report of a failure or a Stop would be obeyed: who has the token may do that.
    const char* const method = std::array{"Attend", "Heartbeat", "Status", "Open"}[random() % 4];
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    if (std::string(method) == "Attend") bytes.insert(0, "\x08\x05", 2);  // of rank 5, at first
    rogue_.send(method, bytes);
  }
  EXPECT_FALSE(job_.coordinator().failure());
}

/// The pieces of a job for a coordinator that is apart.
class OpenedApart : public testing::Test {
 protected:
  grpc::Status open(const v1::OpenRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    v1::OpenReply reply;
    return rogue_.stub().Open(&context, request, &reply);
  }
  static v1::OpenRequest valid() {
    v1::OpenRequest request;
    request.set_instance(1);
    request.set_total_seeds(4);
    for (const std::uint64_t seed : {0, 3, 5, 9}) request.add_seeds(seed);
    for (const std::uint64_t bound : {0, 5, 10}) request.add_bounds(bound);
    request.set_batch_size(2);
    request.set_epochs(1);
    request.set_slices(1);
    request.set_dataset_fingerprint("f");
    return request;
  }

  Coordinator coordinator_{{.world_size = 2, .apart = true}};
  Rogue rogue_{coordinator_.contact()};
};

TEST_F(OpenedApart, RefusesWhatIsNoJob) {
  const std::vector<std::function<void(v1::OpenRequest&)>> faults{
      [](auto& r) { r.set_total_seeds(1ull << 40); },
      [](auto& r) { r.set_total_seeds(3); },
      [](auto& r) { r.set_offset(1); },
      [](auto& r) { r.set_offset(~0ull); },
      [](auto& r) { r.set_batch_size(0); },
      [](auto& r) { r.set_epochs(0); },
      [](auto& r) { r.set_slices(0); },
      [](auto& r) { r.set_slices(0xffffffff); },
      [](auto& r) { r.clear_bounds(); },
      [](auto& r) { r.set_bounds(0, 1); },
      [](auto& r) { r.set_bounds(1, 11); },
      [](auto& r) { r.add_bounds(10); },
      [](auto& r) { r.set_seeds(3, 10); },
  };
  for (std::size_t i = 0; i < faults.size(); ++i) {
    Coordinator coordinator({.world_size = 2, .apart = true});
    Rogue rogue(coordinator.contact());
    v1::OpenRequest request = valid();
    faults[i](request);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    v1::OpenReply reply;
    EXPECT_EQ(rogue.stub().Open(&context, request, &reply).error_code(),
              StatusCode::INVALID_ARGUMENT)
        << i;
  }
}

TEST_F(OpenedApart, TakesAJobOnceAndFromRank0) {
  EXPECT_TRUE(open(valid()).ok());
  EXPECT_TRUE(open(valid()).ok());  // the answer was not heard
  v1::OpenRequest other = valid();
  other.set_instance(2);
  EXPECT_EQ(open(other).error_code(), StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace gsplit
