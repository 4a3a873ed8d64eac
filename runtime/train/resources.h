// What of this host a worker gets.
#pragma once

#include <cstdint>
#include <string>

namespace gsplit {

/// Threads of a worker to which `cores` fall: `asked` if positive, else one a core; at least 1.
int threads_per_worker(int asked, int cores);

/// Those beside them, on cores that they leave free; may be 0.
int spare_threads(int asked, int cores);

/// Peak resident memory of this process.
std::uint64_t peak_rss_bytes();

std::string host_name();

}  // namespace gsplit
