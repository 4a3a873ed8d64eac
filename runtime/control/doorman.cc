#include "runtime/control/doorman.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "kernels/base/error.h"

namespace gsplit {
namespace {

constexpr int kBacklog = 1024;
/// Where the process has no descriptor left.
constexpr std::chrono::milliseconds kPause{10};

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

std::string without_brackets(const std::string& host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    return host.substr(1, host.size() - 2);
  }
  return host;
}

Addresses resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(without_brackets(host).c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    throw SystemError(
        fmt::format("the coordinator cannot listen on {}:{}: {}", host, port, gai_strerror(error)),
        "give an address of this host");
  }
  return {found, freeaddrinfo};
}

/// A listening socket, or -1 with errno.
int listen_at(const addrinfo& address) {
  const int made = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (made < 0) return -1;
  const int on = 1;
  setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(made, address.ai_addr, address.ai_addrlen) == 0 && listen(made, kBacklog) == 0) {
    return made;
  }
  const int error = errno;
  ::close(made);
  errno = error;
  return -1;
}

int port_of(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

/// "10.0.0.2:4711", "[fe80::1]:4711"; an IPv4 address seen through IPv6 is written as what it is.
std::string name_of(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return fmt::format("{}:{}", text.data(), ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
    return fmt::format("{}:{}", text.data(), ntohs(v6.sin6_port));
  }
  inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
  return fmt::format("[{}]:{}", text.data(), ntohs(v6.sin6_port));
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// gRPC's "ipv6:%5Bfe80::1%5D:4711" as name_of() writes it.
std::string name_of(const std::string& grpc_peer) {
  std::string name = grpc_peer.substr(grpc_peer.find(':') + 1);
  replace_all(name, "%5B", "[");
  replace_all(name, "%5D", "]");
  return name;
}

/// As gRPC sets up the connections that it takes itself: messages go out at once. And a host that
/// has vanished without a word is noticed.
void set_up(int socket) {
  const int on = 1;
  const int seconds = 30;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
}

/// Large jobs have a connection per worker, and descriptors of the run beside them.
void allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Doorman::Doorman(const DoormanOptions& options) : options_(options) {
  allow_many_descriptors();
  const Addresses addresses = resolve(options.host, options.port);
  for (const addrinfo* at = addresses.get(); at != nullptr && listener_ < 0; at = at->ai_next) {
    listener_ = listen_at(*at);
  }
  if (listener_ < 0) {
    throw SystemError(fmt::format("the coordinator cannot listen on {}:{}: {}", options.host,
                                  options.port, std::strerror(errno)),
                      "is the port taken? port 0 finds a free one");
  }
  port_ = port_of(listener_);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

Doorman::~Doorman() {
  close();
  clear();
  if (listener_ >= 0) ::close(listener_);
  if (wake_ >= 0) ::close(wake_);
}

void Doorman::open(std::function<void(int)> take) {
  GSPLIT_CHECK(!thread_.joinable());
  take_ = std::move(take);
  thread_ = std::thread([this] { watch(); });
}

bool Doorman::admit(const std::string& peer) {
  const std::lock_guard lock(mutex_);
  const auto guest = guests_.find(name_of(peer));
  if (guest == guests_.end()) return false;
  if (!guest->second.admitted) --num_strangers_;
  guest->second.admitted = true;
  return true;
}

void Doorman::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  const std::uint64_t one = 1;
  while (write(wake_, &one, sizeof(one)) < 0 && errno == EINTR) continue;
  if (thread_.joinable()) thread_.join();
  if (listener_ >= 0) ::close(listener_);
  listener_ = -1;
}

void Doorman::clear() {
  const std::lock_guard lock(mutex_);
  for (const auto& [peer, guest] : guests_) ::close(guest.descriptor);
  guests_.clear();
  num_strangers_ = 0;
}

std::uint64_t Doorman::num_put_out() const {
  const std::lock_guard lock(mutex_);
  return num_put_out_;
}

void Doorman::watch() {
  std::vector<pollfd> watched;
  std::vector<std::string> peers;  // of watched[2] and on
  std::vector<std::string> gone;
  for (;;) {
    int timeout = 0;
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
      watched = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
      peers.clear();
      for (const auto& [peer, guest] : guests_) {
        watched.push_back({guest.descriptor, POLLRDHUP, 0});
        peers.push_back(peer);
      }
      timeout = milliseconds_to_next_look();
    }
    if (poll(watched.data(), watched.size(), timeout) < 0 && errno != EINTR) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    gone.clear();
    for (std::size_t i = 0; i < peers.size(); ++i) {
      if (watched[i + 2].revents != 0) gone.push_back(std::move(peers[i]));
    }
    let_go(gone);
    put_out_late_ones();
    accept_all();
  }
}

int Doorman::milliseconds_to_next_look() const {
  if (num_strangers_ == 0) return -1;
  Clock::time_point first = Clock::time_point::max();
  for (const auto& [peer, guest] : guests_) {
    if (!guest.admitted) first = std::min(first, guest.since + options_.patience);
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, options_.patience.count()));
}

/// Those that have closed their end; the server notices that by itself.
void Doorman::let_go(const std::vector<std::string>& gone) {
  const std::lock_guard lock(mutex_);
  for (const std::string& peer : gone) {
    const auto guest = guests_.find(peer);
    if (guest == guests_.end()) continue;
    if (!guest->second.admitted) {
      put_out(guest);
    } else {
      ::close(guest->second.descriptor);
      guests_.erase(guest);
    }
  }
}

void Doorman::put_out_late_ones() {
  const std::lock_guard lock(mutex_);
  const Clock::time_point latest = Clock::now() - options_.patience;
  for (auto guest = guests_.begin(); guest != guests_.end();) {
    const auto next = std::next(guest);
    if (!guest->second.admitted && guest->second.since <= latest) put_out(guest);
    guest = next;
  }
}

/// The server sees the end of the connection and forgets it.
void Doorman::put_out(Guests::iterator guest) {
  shutdown(guest->second.descriptor, SHUT_RDWR);
  ::close(guest->second.descriptor);
  guests_.erase(guest);
  --num_strangers_;
  ++num_put_out_;
}

Doorman::Guests::iterator Doorman::oldest_stranger() {
  auto oldest = guests_.end();
  for (auto guest = guests_.begin(); guest != guests_.end(); ++guest) {
    if (guest->second.admitted) continue;
    if (oldest == guests_.end() || guest->second.since < oldest->second.since) oldest = guest;
  }
  return oldest;
}

void Doorman::make_room() {
  const std::lock_guard lock(mutex_);
  const auto stranger = oldest_stranger();
  if (stranger != guests_.end()) put_out(stranger);
}

void Doorman::accept_all() {
  for (;;) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    const int descriptor = accept4(listener_, reinterpret_cast<sockaddr*>(&address), &size,
                                   SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0) {
      if (welcome(descriptor, name_of(address))) take_(descriptor);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    make_room();  // EMFILE and the like
    std::this_thread::sleep_for(kPause);
    return;
  }
}

/// False where there is no room for it: then it is closed.
bool Doorman::welcome(int descriptor, const std::string& peer) {
  const int own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (own < 0) {
    ::close(descriptor);
    return false;
  }
  set_up(descriptor);
  const std::lock_guard lock(mutex_);
  // The same peer again: its former connection has ended unseen.
  if (const auto former = guests_.find(peer); former != guests_.end()) {
    num_strangers_ -= former->second.admitted ? 0 : 1;
    ::close(former->second.descriptor);
    guests_.erase(former);
  }
  if (num_strangers_ >= options_.max_strangers) put_out(oldest_stranger());
  guests_[peer] = {own, Clock::now()};
  ++num_strangers_;
  return true;
}

}  // namespace gsplit
