#include "runtime/train/resources.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace gsplit {

int threads_per_worker(int asked, int cores) { return asked > 0 ? asked : std::max(1, cores); }

int spare_threads(int asked, int cores) {
  return std::max(0, cores - threads_per_worker(asked, cores));
}

std::uint64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

}  // namespace gsplit
