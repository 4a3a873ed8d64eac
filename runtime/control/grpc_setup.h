// How this folder uses gRPC: the settings that server and clients share. Only .cc files include it.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "gsplit/v1/coordinator.grpc.pb.h"
#include "runtime/control/contact_card.h"
#include "runtime/control/credentials.h"

namespace gsplit {

/// To workers: a step plan of one worker has to fit in; 16 million seeds do.
inline constexpr int kMaxMessageBytes = 64 << 20;
/// To the coordinator: nobody has to say more at once.
inline constexpr int kMaxRequestBytes = 1 << 20;

/// Keeps gRPC's own log off stderr, which belongs to one-line failures, unless GRPC_VERBOSITY asks
/// for it.
void quiet_grpc_log();

/// TLS with the certificate that the contact names and no other, its token with every call, no
/// proxies. Heartbeats take the place of gRPC's keepalive pings.
std::unique_ptr<v1::Coordinator::Stub> make_stub(const Contact& contact);

/// The other end. A call without the token ends, as UNAUTHENTICATED, before its message is read.
std::shared_ptr<grpc::ServerCredentials> server_credentials(const Identity& identity);

}  // namespace gsplit
