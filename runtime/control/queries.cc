// `gsplit status` and `gsplit stop`: one call each, from outside of the job.
#include <fmt/format.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "runtime/control/client.h"
#include "runtime/control/grpc_setup.h"
#include "runtime/control/wire.h"

namespace gsplit {
namespace {

constexpr std::chrono::seconds kTimeout{5};

void set_timeout(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kTimeout);
}

void require_answer(const grpc::Status& status, const Contact& contact) {
  if (status.ok()) return;
  const std::string& address = contact.address;
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
    throw UsageError(fmt::format("the coordinator at {} does not take this token", address),
                     "give the --token-file that it was started with");
  }
  throw SystemError(
      fmt::format("no coordinator answers at {} ({})", address, status.error_message()),
      "is the run over? its log prints the address");
}

const char* phase_of(const v1::WorkerStatus& worker) { return name_of(from_wire(worker.phase())); }

double seeds_per_s(const v1::StatusReply& reply) {
  double sum = 0;
  for (const v1::WorkerStatus& worker : reply.workers()) sum += worker.seeds_per_s();
  return sum;
}

/// The step of the foremost worker, of how many.
std::string place_in_job(const v1::StatusReply& reply) {
  if (reply.total_steps() == 0) return "preparing";
  std::uint64_t step = 0;
  for (const v1::WorkerStatus& worker : reply.workers()) step = std::max(step, worker.step());
  return fmt::format("step {} of {} steps, {:.0f} seeds/s", step, reply.total_steps(),
                     seeds_per_s(reply));
}

std::string as_json(const v1::StatusReply& reply) {
  nlohmann::json workers = nlohmann::json::array();
  for (const v1::WorkerStatus& worker : reply.workers()) {
    workers.push_back({{"rank", worker.rank()},
                       {"host", worker.host()},
                       {"device", worker.device()},
                       {"phase", phase_of(worker)},
                       {"step", worker.step()},
                       {"seeds_done", worker.seeds_done()},
                       {"seeds_per_s", worker.seeds_per_s()},
                       {"busy_share", worker.busy_share()},
                       {"steps_behind", worker.steps_behind()},
                       {"core_wait_share", worker.core_wait_share()},
                       {"rss_bytes", worker.rss_bytes()},
                       {"device_bytes", worker.device_bytes()},
                       {"seconds_since_heartbeat", worker.seconds_since_heartbeat()}});
  }
  const nlohmann::json failure = reply.has_failure()
                                     ? nlohmann::json(from_wire(reply.failure()).describe())
                                     : nlohmann::json();
  const nlohmann::json status = {{"version", reply.version()},
                                 {"world_size", reply.world_size()},
                                 {"total_steps", reply.total_steps()},
                                 {"seeds_per_s", seeds_per_s(reply)},
                                 {"stop_requested", reply.stop_requested()},
                                 {"failure", failure},
                                 {"workers", workers}};
  return status.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string as_text(const v1::StatusReply& reply) {
  std::string text = fmt::format("gsplit {}: {} of {} workers, {}{}\n", reply.version(),
                                 reply.workers_size(), reply.world_size(), place_in_job(reply),
                                 reply.stop_requested() ? ", stopping" : "");
  text += fmt::format("{:>4}  {:<20} {:<16} {:<20} {:>10} {:>6} {:>10} {:>6} {:>9} {:>9} {:>11}\n",
                      "rank", "host", "device", "phase", "step", "behind", "seeds/s", "busy",
                      "RSS MiB", "GPU MiB", "heard s ago");
  for (const v1::WorkerStatus& worker : reply.workers()) {
    text += fmt::format(
        "{:>4}  {:<20} {:<16} {:<20} {:>10} {:>6} {:>10.0f} {:>4.0f} % {:>9} {:>9} {:>11.1f}\n",
        worker.rank(), worker.host(), worker.device(), phase_of(worker), worker.step(),
        worker.steps_behind(), worker.seeds_per_s(), 100 * worker.busy_share(),
        worker.rss_bytes() >> 20, worker.device_bytes() >> 20, worker.seconds_since_heartbeat());
  }
  if (reply.has_failure()) text += "failed: " + from_wire(reply.failure()).describe() + "\n";
  text.pop_back();
  return text;
}

}  // namespace

std::string query_status(const Contact& contact, bool json) {
  grpc::ClientContext context;
  set_timeout(context);
  v1::StatusReply reply;
  require_answer(make_stub(contact)->Status(&context, {}, &reply), contact);
  return json ? as_json(reply) : as_text(reply);
}

std::string request_stop(const Contact& contact) {
  grpc::ClientContext context;
  set_timeout(context);
  v1::StopReply reply;
  require_answer(make_stub(contact)->Stop(&context, {}, &reply), contact);
  return fmt::format("stopping: every worker ends after step {} at the latest", reply.step());
}

std::string query_status(const std::string& address, bool json) {
  return query_status(find_contact(address), json);
}

std::string request_stop(const std::string& address) { return request_stop(find_contact(address)); }

}  // namespace gsplit
