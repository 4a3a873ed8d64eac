// Between the messages of coordinator.proto and our own types. Only .cc files of this folder
// include it.
#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "gsplit/v1/coordinator.pb.h"
#include "runtime/control/client.h"
#include "runtime/control/coordinator.h"
#include "runtime/control/job_state.h"
#include "runtime/control/planner.h"

namespace gsplit {

/// Of the initial metadata of Attend: the coordinator has heard the worker, so from now on a
/// connection that breaks is the end of one of them.
inline constexpr const char* kAttending = "attending";

/// A name or a text that has come over the wire and may end in somebody's terminal, without control
/// characters, and no longer than fits on a few lines. Of messages that from_wire() takes apart it
/// has been done.
std::string printable(const std::string& text);

v1::Failure to_wire(const WorkerFailure& failure);
v1::StepPlan to_wire(const StepPlan& plan);
v1::WorkerStatus to_wire(const WorkerRecord& worker);
v1::Phase to_wire(Phase phase);
v1::Place to_wire(const Place& place);
/// Without its seeds.
v1::OpenRequest to_wire(const JobData& data);

WorkerFailure from_wire(const v1::Failure& failure);
StepPlan from_wire(const v1::StepPlan& plan);
/// kStarting for a value that this version does not know.
Phase from_wire(v1::Phase phase);
JoinClaim from_wire(const v1::JoinRequest& request);
Place from_wire(const v1::Place& place);
Beat from_wire(const v1::HeartbeatRequest& request);

/// The job's failure as the end of a call, and back; nothing when the status says something else.
grpc::Status failure_status(const WorkerFailure& failure);
std::optional<WorkerFailure> failure_of(const grpc::Status& status);

}  // namespace gsplit
