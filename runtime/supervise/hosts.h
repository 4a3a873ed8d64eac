// The hosts that a job may run on: a hostfile as mpirun reads it, and who of them answers.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace gsplit {

struct Host {
  std::string name;
  int slots = 1;
};

/// A line per host, `NAME [slots=N] [max_slots=M]`; `#` begins a comment; a host that stands twice
/// has the slots of both. Throws UsageError naming file and line.
std::vector<Host> read_hostfile(const std::filesystem::path& file);

/// This host, and those for which `sh -c probe`, with {host} replaced by the name, exits 0 within
/// 15 s. All are asked at once.
std::vector<Host> hosts_that_answer(const std::vector<Host>& hosts, const std::string& probe);

int slots_of(const std::vector<Host>& hosts);
std::string as_hostfile(const std::vector<Host>& hosts);

}  // namespace gsplit
