// What of this host a worker gets.
#pragma once

#include <cstdint>
#include <string>

namespace gsplit {

/// NUMA nodes of this host, at least 1.
int num_numa_nodes();

/// Threads for each of `local_workers` workers of this host: `asked` if positive; else the cores
/// that this process may run on, divided among the workers unless the launcher has bound each to
/// its own; at least 1.
int threads_per_worker(int asked, int local_workers);

/// Threads for each of `local_workers` beside those of threads_per_worker(), on cores that these
/// leave free; may be 0.
int spare_threads(int asked, int local_workers);

/// Peak resident memory of this process.
std::uint64_t peak_rss_bytes();

std::string host_name();

}  // namespace gsplit
