#include "runtime/control/grpc_setup.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/credentials.h>

#include <cstdlib>
#include <string_view>

namespace gsplit {
namespace {

constexpr const char* kHeader = "authorization";
constexpr const char* kScheme = "Bearer ";

class TokenCheck final : public grpc::AuthMetadataProcessor {
 public:
  explicit TokenCheck(const std::string& token) : expected_(kScheme + token) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext*, OutputMetadata* consumed,
                       OutputMetadata*) override {
    const auto [first, end] = metadata.equal_range(kHeader);
    if (first == end || std::next(first) != end ||
        !same_secret({first->second.data(), first->second.size()}, expected_)) {
      return {grpc::StatusCode::UNAUTHENTICATED, "no valid token"};
    }
    consumed->emplace(kHeader, expected_);
    return grpc::Status::OK;
  }

 private:
  const std::string expected_;
};

/// gRPC's name for one address, or for several of which it takes the first that can be connected.
std::string target_of(const std::string& address) {
  if (address.find(',') == std::string::npos) return address;
  return (address.front() == '[' ? "ipv6:" : "ipv4:") + address;
}

}  // namespace

void quiet_grpc_log() {
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
}

std::unique_ptr<v1::Coordinator::Stub> make_stub(const Contact& contact) {
  quiet_grpc_log();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection per worker
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // also the time to connect
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxRequestBytes);
  const Credentials& credentials = contact.credentials;
  if (is_made_here(credentials.certificate)) {
    arguments.SetSslTargetNameOverride(kCertificateName);
  }
  const auto encrypted = grpc::SslCredentials({.pem_root_certs = credentials.certificate});
  const auto with_token =
      grpc::CompositeChannelCredentials(encrypted, grpc::AccessTokenCredentials(credentials.token));
  return v1::Coordinator::NewStub(
      grpc::CreateCustomChannel(target_of(contact.address), with_token, arguments));
}

std::shared_ptr<grpc::ServerCredentials> server_credentials(const Identity& identity) {
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({identity.private_key, identity.certificate});
  auto credentials = grpc::SslServerCredentials(options);
  credentials->SetAuthMetadataProcessor(std::make_shared<TokenCheck>(identity.token));
  return credentials;
}

}  // namespace gsplit
