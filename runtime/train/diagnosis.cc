#include "runtime/train/diagnosis.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/world.h"
#include "runtime/train/placement.h"
#include "runtime/train/resources.h"

namespace gsplit {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kOldestArchitecture = 8;  // what the module's code is compiled for

/// A line of /proc/meminfo in bytes; 0 where there is none.
std::uint64_t memory_info(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  for (std::string name, rest; file >> name && std::getline(file, rest);) {
    if (name == key + ":") return std::stoull(rest) * 1024;
  }
  return 0;
}

/// As CUDA counts versions: 13010 is 13.1.
std::string version_text(int version) {
  return version == 0 ? "none" : fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

double gibibytes(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

std::vector<std::string> problems_of(const Diagnosis& found) {
  std::vector<std::string> problems;
  const DeviceReport& gpus = found.gpus;
  if (found.module.empty()) {
    problems.push_back("no CUDA module (" + gpus.problem +
                       "); where there are GPUs: deploy/install.sh --cuda, then deploy/build.sh");
  } else if (gpus.driver > 0 && gpus.driver < gpus.runtime) {
    problems.push_back(
        fmt::format("the driver knows CUDA {}, the module needs {}; update the driver",
                    version_text(gpus.driver), version_text(gpus.runtime)));
  } else if (gpus.driver > 0 && !gpus.problem.empty()) {
    problems.push_back("CUDA finds no GPU: " + gpus.problem);
  }
  for (const DeviceInfo& gpu : gpus.devices) {
    if (gpu.major >= kOldestArchitecture) continue;
    problems.push_back(
        fmt::format("{} has compute capability {}.{}, and the module is made for {}.0"
                    " and later; hide it by CUDA_VISIBLE_DEVICES",
                    gpu.name, gpu.major, gpu.minor, kOldestArchitecture));
  }
  return problems;
}

Json to_json(const DeviceInfo& gpu) {
  return {{"name", gpu.name},
          {"pci_id", gpu.pci_id},
          {"compute_capability", fmt::format("{}.{}", gpu.major, gpu.minor)},
          {"memory_bytes", gpu.memory_bytes},
          {"free_bytes", gpu.free_bytes},
          {"peers", gpu.peers}};
}

}  // namespace

Diagnosis diagnose() {
  const OpenedModule opened = open_device_module();
  Diagnosis found{.host = host_name(),
                  .cores = num_allowed_cores(),
                  .numa_nodes = HostTopology::of_this_host().num_numa_nodes(),
                  .memory_bytes = memory_info("MemTotal"),
                  .available_bytes = memory_info("MemAvailable"),
                  .mpi = mpi_library(),
                  .module = opened.path,
                  .gpus = {},
                  .device = "cpu",
                  .workers = 0,
                  .problems = {}};
  if (opened.module != nullptr) {
    found.gpus = opened.module->report();
  } else {
    found.gpus.problem = opened.problem;
  }
  if (!found.gpus.devices.empty()) found.device = "cuda";
  found.workers =
      found.gpus.devices.empty() ? found.numa_nodes : static_cast<int>(found.gpus.devices.size());
  found.problems = problems_of(found);
  return found;
}

std::string as_text(const Diagnosis& found) {
  const DeviceReport& gpus = found.gpus;
  std::string text =
      fmt::format("host     {}: {} cores, {} NUMA nodes, {:.1f} GiB of memory, {:.1f} available\n",
                  found.host, found.cores, found.numa_nodes, gibibytes(found.memory_bytes),
                  gibibytes(found.available_bytes));
  text += "mpi      " + found.mpi + "\n";
  text += found.module.empty()
              ? "module   none: " + gpus.problem + "\n"
              : fmt::format("module   {} (CUDA {}, cuBLAS {}, NCCL {})\n", found.module,
                            version_text(gpus.runtime), gpus.cublas, gpus.nccl);
  text += fmt::format("driver   CUDA {}\n", version_text(gpus.driver));
  for (std::size_t i = 0; i < gpus.devices.size(); ++i) {
    const DeviceInfo& gpu = gpus.devices[i];
    text += fmt::format("gpu {}    {} at {}: {}.{}, {:.1f} GiB, {:.1f} free; reaches [{}]\n", i,
                        gpu.name, gpu.pci_id, gpu.major, gpu.minor, gibibytes(gpu.memory_bytes),
                        gibibytes(gpu.free_bytes), fmt::join(gpu.peers, ", "));
  }
  if (gpus.devices.empty()) text += "gpus     none: " + gpus.problem + "\n";
  text += fmt::format("uses     --device {}, {} {} a process", found.device, found.workers,
                      found.workers == 1 ? "worker" : "workers");
  for (const std::string& problem : found.problems) text += "\nproblem  " + problem;
  return text;
}

std::string as_json(const Diagnosis& found) {
  const DeviceReport& gpus = found.gpus;
  Json json{{"host",
             {{"name", found.host},
              {"cores", found.cores},
              {"numa_nodes", found.numa_nodes},
              {"memory_bytes", found.memory_bytes},
              {"available_bytes", found.available_bytes}}},
            {"mpi", found.mpi},
            {"module", found.module.empty() ? Json() : Json(found.module)},
            {"cuda",
             {{"driver", gpus.driver},
              {"runtime", gpus.runtime},
              {"cublas", gpus.cublas},
              {"nccl", gpus.nccl},
              {"problem", gpus.problem.empty() ? Json() : Json(gpus.problem)}}},
            {"gpus", Json::array()},
            {"device", found.device},
            {"workers", found.workers},
            {"problems", found.problems}};
  for (const DeviceInfo& gpu : gpus.devices) json["gpus"].push_back(to_json(gpu));
  return json.dump();
}

}  // namespace gsplit
