// At which of its addresses other hosts reach this one.
#pragma once

#include <string>
#include <vector>

namespace gsplit {

/// The addresses of this host's interfaces, but for loopback and link-local ones: IPv4 where there
/// are any, else IPv6.
std::vector<std::string> host_addresses();

/// `own` with those first from which the kernel would go to the most of the addresses of other
/// hosts: there they can answer. Addresses that are our own as well (bridges of containers have the
/// same on every host) say nothing.
std::vector<std::string> order_by_reach(std::vector<std::string> own,
                                        const std::vector<std::string>& others);

}  // namespace gsplit
