// gsplit doctor: what this host has, what a run would use of it, and what is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device_module.h"

namespace gsplit {

struct Diagnosis {
  std::string host;
  int cores = 0;  ///< that this process may run on
  int numa_nodes = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t available_bytes = 0;
  std::string mpi;                    ///< name and version of the library
  std::string module;                 ///< path of the CUDA module; empty: none
  DeviceReport gpus;                  ///< its problem also tells why there is no module
  std::string device;                 ///< what `gsplit train` takes by default: cpu or cuda
  int workers = 0;                    ///< and how many rank threads
  std::vector<std::string> problems;  ///< each with its remedy; empty where all is well
};

Diagnosis diagnose();
/// Lines for a terminal, or one JSON object.
std::string as_text(const Diagnosis& diagnosis);
std::string as_json(const Diagnosis& diagnosis);

}  // namespace gsplit
