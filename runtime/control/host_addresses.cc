#include "runtime/control/host_addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>

namespace gsplit {
namespace {

std::string text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text.data(),
              text.size());
  } else {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text.data(),
              text.size());
  }
  return text.data();
}

bool is_usable_v4(const sockaddr* address) {
  const std::uint32_t bits = ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
  return (bits >> 24) != 127 && (bits >> 16) != 0xa9fe;
}

bool is_usable_v6(const sockaddr* address) {
  const in6_addr& bits = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  return !IN6_IS_ADDR_LOOPBACK(&bits) && !IN6_IS_ADDR_LINKLOCAL(&bits);
}

/// The address from which the kernel would go there; empty where it knows no way. Nothing is sent.
std::string source_towards(const std::string& target) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(target.c_str(), "9", &hints, &found) != 0) return "";
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const int probe = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return "";
  sockaddr_storage source{};
  socklen_t size = sizeof(source);
  const bool known = connect(probe, found->ai_addr, found->ai_addrlen) == 0 &&
                     getsockname(probe, reinterpret_cast<sockaddr*>(&source), &size) == 0;
  close(probe);
  return known ? text_of(reinterpret_cast<const sockaddr*>(&source)) : "";
}

}  // namespace

std::vector<std::string> host_addresses() {
  ifaddrs* found = nullptr;
  if (getifaddrs(&found) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(found, freeifaddrs);
  std::vector<std::string> v4;
  std::vector<std::string> v6;
  for (const ifaddrs* at = found; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
    const int family = at->ifa_addr->sa_family;
    if (family == AF_INET && is_usable_v4(at->ifa_addr)) v4.push_back(text_of(at->ifa_addr));
    if (family == AF_INET6 && is_usable_v6(at->ifa_addr)) v6.push_back(text_of(at->ifa_addr));
  }
  return v4.empty() ? v6 : v4;
}

std::vector<std::string> order_by_reach(std::vector<std::string> own,
                                        const std::vector<std::string>& others) {
  std::map<std::string, int> votes;
  for (const std::string& other : others) {
    if (std::find(own.begin(), own.end(), other) == own.end()) ++votes[source_towards(other)];
  }
  std::stable_sort(own.begin(), own.end(), [&](const std::string& one, const std::string& two) {
    return votes[one] > votes[two];
  });
  return own;
}

}  // namespace gsplit
