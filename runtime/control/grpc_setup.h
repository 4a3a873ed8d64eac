// How this folder uses gRPC: the settings that server and clients share. Only .cc files include it.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "gsplit/v1/coordinator.grpc.pb.h"

namespace gsplit {

/// A step plan of one worker has to fit in; 16 million seeds do.
inline constexpr int kMaxMessageBytes = 64 << 20;

/// Keeps gRPC's own log off stderr, which belongs to one-line failures, unless GRPC_VERBOSITY asks
/// for it.
void quiet_grpc_log();

/// Plain TCP without proxies. Heartbeats take the place of gRPC's keepalive pings.
std::unique_ptr<v1::Coordinator::Stub> make_stub(const std::string& address);

}  // namespace gsplit
