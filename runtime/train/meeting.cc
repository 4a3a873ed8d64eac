#include "runtime/train/meeting.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "kernels/base/error.h"
#include "runtime/control/host_addresses.h"

namespace gsplit {
namespace {

constexpr std::size_t kMaxAddresses = 8;

/// A Meeting of fixed size, its texts with a zero at the end.
struct Letter {
  std::array<char, 512> address{};
  std::array<char, 1024> certificate{};
  std::array<char, 80> token{};
  LastWord::Handle word;
};

template <std::size_t size>
void write(const std::string& text, std::array<char, size>& place) {
  GSPLIT_CHECK(text.size() < size);
  std::copy(text.begin(), text.end(), place.begin());
}

std::vector<std::string> lines_in(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// The addresses of the hosts of all other ranks. Collective.
std::vector<std::string> addresses_of_others(const std::vector<std::string>& own,
                                             Communicator& communicator) {
  std::string mine;
  for (const std::string& address : own) mine += address + "\n";
  std::vector<std::string> others;
  for (const auto& bytes : communicator.all_gather_v(std::as_bytes(std::span(mine)))) {
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::vector<std::string> lines = lines_in(text);
    if (lines != own) others.insert(others.end(), lines.begin(), lines.end());
  }
  return others;
}

bool is_wildcard(const std::string& host) { return host == "0.0.0.0" || host == "[::]"; }

/// "10.0.0.1" or "10.0.0.1:4000", "[fe80::1]:4000".
std::string with_port(const std::string& address) {
  const std::size_t bracket = address.rfind(']');
  const std::size_t colon = address.rfind(':');
  const bool has_port =
      colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  return has_port ? address : address + ":0";
}

std::string host_in(const std::string& address) { return address.substr(0, address.rfind(':')); }

}  // namespace

CoordinatorOptions coordinator_options(const TrainConfig& config, const WorkerPlace& place,
                                       Communicator& communicator) {
  CoordinatorOptions options{.world_size = communicator.size(), .deadline = config.deadline};
  const bool several_hosts = place.local_workers < communicator.size();
  const bool given = !config.coordinator_bind.empty();
  if (given) options.bind_address = with_port(config.coordinator_bind);
  if (!several_hosts && !(given && is_wildcard(host_in(options.bind_address)))) return options;
  const std::vector<std::string> own = host_addresses();
  const std::vector<std::string> others = addresses_of_others(own, communicator);
  if (given && !is_wildcard(host_in(options.bind_address))) return options;
  if (own.empty()) return options;
  if (!given)
    options.bind_address = own.front().find(':') == std::string::npos ? "0.0.0.0:0" : "[::]:0";
  options.hosts = order_by_reach(own, others);
  options.hosts.resize(std::min(options.hosts.size(), kMaxAddresses));
  return options;
}

Contact given_contact(const TrainConfig& config) {
  if (config.tls_ca.empty()) return find_contact(config.coordinator);
  return {config.coordinator, read_credentials(config.tls_ca, config.token_file)};
}

Meeting broadcast_meeting(const Meeting& meeting, Communicator& communicator) {
  // MPI sends so much only to who is there: were rank 0 to wait for one that is not, others would
  // wait for rank 0 and take it for the missing one.
  communicator.barrier();
  Letter letter{.word = meeting.word};
  write(meeting.contact.address, letter.address);
  write(meeting.contact.credentials.certificate, letter.certificate);
  write(meeting.contact.credentials.token, letter.token);
  communicator.broadcast(std::as_writable_bytes(std::span(&letter, 1)), 0);
  return {.contact = {letter.address.data(), {letter.certificate.data(), letter.token.data()}},
          .word = letter.word};
}

}  // namespace gsplit
