// A worker that joins, takes one plan, says so on stdout, and then lives until it is killed.
// Usage: control_worker ADDRESS RANK WORLD_SIZE FINGERPRINT
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "runtime/control/client.h"

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  gsplit::Progress progress;
  progress.phase = gsplit::Phase::kCompute;
  progress.step = 1;
  gsplit::CoordinatorClient client({.contact = gsplit::find_contact(argv[1]),
                                    .rank = std::atoi(argv[2]),
                                    .world_size = std::atoi(argv[3]),
                                    .host = "host-b",
                                    .device = "cpu",
                                    .heartbeat_interval = std::chrono::milliseconds(20)},
                                   progress);
  client.join(GSPLIT_VERSION, argv[4]);
  const auto plans = client.stream_plans(1);
  plans->next();
  std::puts("ready");
  std::fflush(stdout);
  for (;;) pause();
}
